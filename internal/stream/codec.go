package stream

import "google.golang.org/protobuf/proto"

// Codec writes and reads a table's values. Encode appends to buf and gives equal bytes for equal values. Decode must not keep data.
type Codec[V any] interface {
	Encode(buf []byte, v *V) ([]byte, error)
	Decode(data []byte) (*V, error)
}

// protoMessage is what vtprotobuf generates for a message T.
type protoMessage[T any] interface {
	*T
	proto.Message
	SizeVT() int
	MarshalToSizedBufferVT(data []byte) (int, error)
	UnmarshalVT(data []byte) error
}

type protoCodec[T any, P protoMessage[T]] struct{}

// ProtoCodec is the codec of a generated message: ProtoCodec[statepb.Profile]().
func ProtoCodec[T any, P protoMessage[T]]() Codec[T] { return protoCodec[T, P]{} }

func (protoCodec[T, P]) Encode(buf []byte, v *T) ([]byte, error) {
	message := P(v)
	size := message.SizeVT()
	start := len(buf)
	buf = append(buf, make([]byte, size)...)
	_, err := message.MarshalToSizedBufferVT(buf[start:])
	return buf, err
}

func (protoCodec[T, P]) Decode(data []byte) (*T, error) {
	v := new(T)
	if err := P(v).UnmarshalVT(data); err != nil {
		return nil, err
	}
	return v, nil
}
