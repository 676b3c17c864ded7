package privacyfilter

import (
	"cmp"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"

	"sluice/privacyfilter/purposepb"
)

// Revision is the place of a control record: the log's generation, its partition and the offset there. It is never used twice.
type Revision struct {
	Generation uint32
	Partition  int32
	Offset     int64
}

// RevisionBytes is the length of Revision.Append's form.
const RevisionBytes = 16

var errRevision = errors.New("must be a place such as 1-5-4711")

// ParseRevision reads the form "generation-partition-offset" ("1-5-4711").
func ParseRevision(s string) (Revision, error) {
	generation, rest, ok := strings.Cut(s, "-")
	if !ok {
		return Revision{}, errRevision
	}
	partition, offset, ok := strings.Cut(rest, "-")
	if !ok {
		return Revision{}, errRevision
	}
	g, err1 := strconv.ParseUint(generation, 10, 32)
	p, err2 := strconv.ParseUint(partition, 10, 31)
	o, err3 := strconv.ParseUint(offset, 10, 63)
	if err1 != nil || err2 != nil || err3 != nil {
		return Revision{}, errRevision
	}
	return Revision{Generation: uint32(g), Partition: int32(p), Offset: int64(o)}, nil
}

// String is the form in which the log and the warehouse hold it: "1-5-4711". Clients hold another, which cannot be made up: see Revisions.
func (r Revision) String() string {
	b := make([]byte, 0, 32)
	b = strconv.AppendUint(b, uint64(r.Generation), 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, int64(r.Partition), 10)
	b = append(b, '-')
	return string(strconv.AppendInt(b, r.Offset, 10))
}

// Compare orders revisions of one subject: by generation, then partition, then offset.
func (r Revision) Compare(b Revision) int {
	return cmp.Or(cmp.Compare(r.Generation, b.Generation), cmp.Compare(r.Partition, b.Partition), cmp.Compare(r.Offset, b.Offset))
}

// IsZero tells whether there is no revision: generations count from 1.
func (r Revision) IsZero() bool { return r == Revision{} }

// Append writes the revision in RevisionBytes big-endian bytes, so that bytes sort as Compare does.
func (r Revision) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, r.Generation)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Partition))
	return binary.BigEndian.AppendUint64(b, uint64(r.Offset))
}

// PB is the protobuf form, nil for none.
func (r Revision) PB() *purposepb.Revision {
	if r.IsZero() {
		return nil
	}
	return &purposepb.Revision{Generation: r.Generation, Partition: r.Partition, Offset: r.Offset}
}

// RevisionFromPB reads the protobuf form; nil is none.
func RevisionFromPB(m *purposepb.Revision) Revision {
	if m == nil {
		return Revision{}
	}
	return Revision{Generation: m.Generation, Partition: m.Partition, Offset: m.Offset}
}
