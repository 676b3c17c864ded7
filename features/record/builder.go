package record

import "encoding/binary"

// Builder makes the entries of one event. The id of an entry is the event's 64-bit form and the entry's place in the event: Options have EventID and the suffix 1.
type Builder struct {
	Entries []Entry // pieces of the builder's memory
	bytes   []byte
}

// EntryID is how many bytes the id of an entry has.
const EntryID = 8 + 1

// maxPlaces is how many entries of one event their ids can tell apart.
const maxPlaces = 1 << 8

// Reset begins the next event.
func (b *Builder) Reset() { b.Entries, b.bytes = b.Entries[:0], b.bytes[:0] }

// Add adds an entry of an event: what it holds is head ‖ text.
func (b *Builder) Add(event []byte, time int64, head []byte, text string) {
	if len(b.Entries) == maxPlaces {
		return
	}
	id := len(b.bytes)
	b.bytes = append(appendID(b.bytes, event), byte(len(b.Entries)))
	body := len(b.bytes)
	b.bytes = append(append(b.bytes, head...), text...)
	b.Entries = append(b.Entries, Entry{Time: time, ID: b.bytes[id:body:body], Body: b.bytes[body:len(b.bytes):len(b.bytes)]})
}

// EventID is what the ids of an event's entries begin with.
func EventID(event []byte) []byte { return appendID(nil, event) }

func appendID(buf, event []byte) []byte { return binary.BigEndian.AppendUint64(buf, Hash64(event)) }
