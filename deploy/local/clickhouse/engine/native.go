package engine

import (
	"bufio"
	"bytes"
	"fmt"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	driver "github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// reencode rewrites Native blocks of revision 0, which the library writes, for a client that asked for a newer revision: a block begins with its
// info, and a column says that its serialization is not a custom one. The values stay as they are: columns are decoded only to find where they end.
func reencode(native []byte, revision int) ([]byte, error) {
	blocks := newBlockReader(native)
	var out proto.Buffer
	for blocks.offset() < len(native) {
		if err := blocks.copy(&out, revision); err != nil {
			return nil, fmt.Errorf("reading the engine's Native block at byte %d of %d: %w", blocks.offset(), len(native), err)
		}
	}
	return out.Buf, nil
}

// blockReader reads Native blocks and knows at which byte it is.
type blockReader struct {
	native   []byte
	source   *bytes.Reader
	buffered *bufio.Reader
	*proto.Reader
}

func newBlockReader(native []byte) *blockReader {
	source := bytes.NewReader(native)
	// proto.NewReader takes a bufio.Reader that is large enough as its own.
	buffered := bufio.NewReaderSize(source, 1<<20)
	return &blockReader{native: native, source: source, buffered: buffered, Reader: proto.NewReader(buffered)}
}

func (r *blockReader) offset() int { return len(r.native) - r.source.Len() - r.buffered.Buffered() }

// copy copies one block.
func (r *blockReader) copy(out *proto.Buffer, revision int) error {
	columns, err := r.UVarInt()
	if err != nil {
		return err
	}
	rows, err := r.UVarInt()
	if err != nil {
		return err
	}
	if revision > 0 {
		proto.BlockInfo{BucketNum: -1}.Encode(out)
	}
	out.PutUVarInt(columns)
	out.PutUVarInt(rows)
	for range columns {
		if err := r.copyColumn(out, revision, int(rows)); err != nil {
			return err
		}
	}
	return nil
}

func (r *blockReader) copyColumn(out *proto.Buffer, revision, rows int) error {
	name, err := r.Str()
	if err != nil {
		return err
	}
	columnType, err := r.Str()
	if err != nil {
		return err
	}
	out.PutString(name)
	out.PutString(columnType)
	if revision >= driver.DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION {
		out.PutBool(false)
	}
	start := r.offset()
	if err := r.skipColumn(name, columnType, rows); err != nil {
		return fmt.Errorf("column %s of type %s: %w", name, columnType, err)
	}
	out.PutRaw(r.native[start:r.offset()])
	return nil
}

func (r *blockReader) skipColumn(name, columnType string, rows int) error {
	if rows == 0 {
		return nil
	}
	c, err := column.Type(columnType).Column(name, &column.ServerContext{})
	if err != nil {
		return err
	}
	if prefixed, ok := c.(column.CustomSerialization); ok {
		if err := prefixed.ReadStatePrefix(r.Reader); err != nil {
			return err
		}
	}
	return c.Decode(r.Reader, rows)
}
