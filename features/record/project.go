package record

import "sluice/internal/stream"

// transform makes the compared value of a record, nil if it is not compared.
type transform func(value []byte) []byte

// AsItIs compares the whole value.
func AsItIs(value []byte) []byte { return value }

// Only projects one table into one store.
func Only(store string, id byte, of transform) stream.Projection {
	return func(table byte, key, value []byte, yield func(store string, key, value []byte)) {
		if table != id {
			return
		}
		if value = of(value); value != nil {
			yield(store, key, value)
		}
	}
}

// projected is what withoutFloor needs of a generated type.
type projected[T any] interface {
	*T
	message
	UnmarshalVT(data []byte) error
}

// WithoutFloor decodes a record and lets strip take away what is not compared; strip tells whether anything is left.
func WithoutFloor[T any, P projected[T]](strip func(m P) bool) transform {
	return func(value []byte) []byte {
		m := P(new(T))
		if m.UnmarshalVT(value) != nil || !strip(m) {
			return nil
		}
		out, err := AppendMessage(nil, m)
		if err != nil {
			return nil
		}
		return out
	}
}
