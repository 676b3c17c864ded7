package parquet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// The library reads run-length encoded truth values wrongly and without an error: of a run of true only every eighth comes out true. pyarrow writes them so in
// pages of version 2. They are decoded here instead; levels are the library's.

// booleans are the values of one column of a row group that are not null, in their order.
type booleans []bool

// text tells the next one, whatever the library says that it is.
func (b *booleans) text(parquet.Value) string {
	if len(*b) == 0 {
		panic("fewer truth values than the levels say") // Read recovers
	}
	next := (*b)[0]
	*b = (*b)[1:]
	return strconv.FormatBool(next)
}

// inRuns tells whether a column chunk holds run-length encoded truth values.
func inRuns(m *format.ColumnMetaData) bool {
	if m.Type != format.Boolean || !slices.Contains(m.Encoding, format.RLE) {
		return false
	}
	if len(m.EncodingStats) == 0 {
		return !slices.Contains(m.Encoding, format.Plain) // RLE is that of levels, too
	}
	return slices.ContainsFunc(m.EncodingStats, func(s format.PageEncodingStats) bool {
		return s.PageType != format.DictionaryPage && s.Encoding == format.RLE
	})
}

// readRuns decodes a column chunk that holds truth values.
func readRuns(file io.ReaderAt, m *format.ColumnMetaData, n *node) (all booleans, err error) {
	chunk, err := io.ReadAll(io.NewSectionReader(file, m.DataPageOffset, m.TotalCompressedSize)) // no more than there is, whatever it says
	if err != nil {
		return nil, fmt.Errorf("reading truth values: %w", err)
	}
	codec := parquet.LookupCompressionCodec(m.Codec)
	for rest, seen := bytes.NewReader(chunk), int64(0); seen < m.NumValues; {
		var h format.PageHeader
		if err := thrift.NewDecoder(new(thrift.CompactProtocol).NewReader(rest)).Decode(&h); err != nil {
			return nil, fmt.Errorf("reading a page of truth values: %w", err)
		}
		if int64(h.CompressedPageSize) < 0 || int(h.CompressedPageSize) > rest.Len() {
			return nil, fmt.Errorf("reading a page of truth values: %w", io.ErrUnexpectedEOF)
		}
		page := chunk[len(chunk)-rest.Len():][:h.CompressedPageSize]
		if _, err := rest.Seek(int64(len(page)), io.SeekCurrent); err != nil {
			return nil, err
		}
		var count int
		var encoding format.Encoding
		switch {
		case h.DataPageHeaderV2.Valid:
			v := &h.DataPageHeaderV2.V
			count, encoding, seen = int(v.NumValues-v.NumNulls), v.Encoding, seen+int64(v.NumValues)
			page = page[v.RepetitionLevelsByteLength+v.DefinitionLevelsByteLength:]
			if !v.IsCompressed.Valid || v.IsCompressed.V {
				page, err = codec.Decode(nil, page)
			}
		case h.DataPageHeader.Valid:
			v := &h.DataPageHeader.V
			encoding, seen = v.Encoding, seen+int64(v.NumValues)
			if page, err = codec.Decode(nil, page); err == nil {
				page, count, err = n.passLevels(page, int(v.NumValues))
			}
		default:
			continue
		}
		if err == nil {
			all, err = all.appendPage(page, encoding, count)
		}
		if err != nil {
			return nil, fmt.Errorf("reading a page of truth values: %w", err)
		}
	}
	return all, nil
}

// passLevels passes over the levels of a page of version 1, and counts the values that are not null.
func (n *node) passLevels(page []byte, values int) (rest []byte, count int, err error) {
	count = values
	if n.repetition > 0 {
		if _, page, err = cutPrefixed(page); err != nil {
			return nil, 0, err
		}
	}
	if n.definition == 0 {
		return page, count, nil
	}
	section, page, err := cutPrefixed(page)
	if err != nil {
		return nil, 0, err
	}
	levels, err := (&rle.Encoding{BitWidth: bits.Len(uint(n.definition))}).DecodeLevels(nil, section)
	if err != nil || len(levels) < values {
		return nil, 0, errors.Join(err, io.ErrUnexpectedEOF)
	}
	count = 0
	for _, level := range levels[:values] {
		if int(level) == n.definition {
			count++
		}
	}
	return page, count, nil
}

// cutPrefixed cuts off what is prefixed with its length in four bytes.
func cutPrefixed(data []byte) (section, rest []byte, err error) {
	if len(data) < 4 || uint64(binary.LittleEndian.Uint32(data)) > uint64(len(data)-4) {
		return nil, nil, io.ErrUnexpectedEOF
	}
	size := 4 + int(binary.LittleEndian.Uint32(data))
	return data[4:size], data[size:], nil
}

// appendPage decodes the values of a page.
func (b booleans) appendPage(page []byte, encoding format.Encoding, count int) (booleans, error) {
	end := len(b) + count
	switch encoding {
	case format.Plain:
		return b.appendBits(page, end)
	case format.RLE:
	default:
		return nil, fmt.Errorf("must be plain or run-length encoded, not %v", encoding)
	}
	runs, _, err := cutPrefixed(page)
	for err == nil && len(b) < end {
		header, n := binary.Uvarint(runs)
		if runs = runs[max(n, 0):]; n <= 0 || len(runs) == 0 || header>>1 > uint64(8*len(runs)+count) {
			return nil, io.ErrUnexpectedEOF
		}
		length := int(header >> 1) // values, or groups of eight
		if header&1 == 0 {
			b = append(b, slices.Repeat([]bool{runs[0]&1 != 0}, min(length, end-len(b)))...)
			runs = runs[1:]
			continue
		}
		length = min(length, len(runs))
		b, err = b.appendBits(runs[:length], min(end, len(b)+8*length))
		runs = runs[length:]
	}
	return b, err
}

// appendBits takes bits, the lowest first, up to the number of values.
func (b booleans) appendBits(packed []byte, end int) (booleans, error) {
	for i := 0; len(b) < end; i++ {
		if i/8 >= len(packed) {
			return nil, io.ErrUnexpectedEOF
		}
		b = append(b, packed[i/8]>>(i%8)&1 != 0)
	}
	return b, nil
}
