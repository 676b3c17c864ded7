package record

import "bytes"

// Encoded is a record as it stands in the changelog: without pointers, decoded when it is touched. Its bytes must not be changed.
type Encoded struct{ Bytes []byte }

// EncodedCodec keeps records as they are.
type EncodedCodec struct{}

// Encode appends the record.
func (EncodedCodec) Encode(buf []byte, v *Encoded) ([]byte, error) {
	return append(buf, v.Bytes...), nil
}

// Decode copies the record.
func (EncodedCodec) Decode(data []byte) (*Encoded, error) {
	return &Encoded{Bytes: bytes.Clone(data)}, nil
}
