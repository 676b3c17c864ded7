package features

import (
	"sluice/features/statepb"
	"sluice/internal/stream"
)

// Projections are what a state digest compares, by engine: stores profiles, footprints, contributions and entities. They hold no floors and no clocks.
func Projections() map[string]stream.Projection {
	return map[string]stream.Projection{
		"personal": only("profiles", recordTable, withoutFloor(func(m *statepb.Profile) bool {
			m.Floor, m.Since = nil, 0
			return len(m.GetTouches().GetEvents())+len(m.Searches) > 0
		})),
		"history": only("footprints", recordTable, withoutFloor(func(m *statepb.Footprints) bool {
			m.Floor, m.Since = nil, 0
			return len(m.Entries) > 0
		})),
		"trending": only("contributions", recordTable, asItIs),
		"entity":   entityProjection,
	}
}

// transform makes the compared value of a record, nil if it is not compared.
type transform func(value []byte) []byte

func asItIs(value []byte) []byte { return value }

// only projects one table into one store.
func only(store string, id byte, of transform) stream.Projection {
	return func(table byte, key, value []byte, yield func(store string, key, value []byte)) {
		if table != id {
			return
		}
		if value = of(value); value != nil {
			yield(store, key, value)
		}
	}
}

// entityProjection projects days and the hours of folded ones, whose keys differ in length.
func entityProjection(table byte, key, value []byte, yield func(store string, key, value []byte)) {
	if table == recordTable || table == hourTable {
		yield("entities", key, value)
	}
}

// projected is what withoutFloor needs of a generated type.
type projected[T any] interface {
	*T
	message
	UnmarshalVT(data []byte) error
}

// withoutFloor decodes a record and lets strip take away what is not compared; strip tells whether anything is left.
func withoutFloor[T any, P projected[T]](strip func(m P) bool) transform {
	return func(value []byte) []byte {
		m := P(new(T))
		if m.UnmarshalVT(value) != nil || !strip(m) {
			return nil
		}
		out, err := appendMessage(nil, m)
		if err != nil {
			return nil
		}
		return out
	}
}
