package filter

import (
	"strings"
	"unsafe"

	"sluice/ingest"
	"sluice/ingest/eventpb"
	"sluice/internal/canonical"
	"sluice/internal/field"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
)

// projection fills what a purpose's type takes from an event, as its definition says, compiled for one register. What the filter makes in a way of its own
// (the person, the event's id and its time) it does not touch.
type projection struct {
	moves []groupMoves
	lines lineMoves
}

// move carries one field over.
type move func(a *arena, from, to unsafe.Pointer)

// groupMoves are those from one message within the event, or from its top.
type groupMoves struct {
	group *field.Field // nil: the top
	moves []move
}

// newProjection compiles the fields of the purpose's type that the register collects for it.
func newProjection(reg *privacyfilter.Register, keys *pseudonym.Keys, purpose string) projection {
	var p projection
	for _, leaf := range ingest.Fields.Leaves() {
		if !reg.Holds(purpose, leaf.Path) {
			continue
		}
		for _, f := range privacyfilter.Type(purpose).Fields {
			switch {
			case f.Part == field.Part_OWN || !privacyfilter.Holds(f, leaf.Path):
			case f.Kind == field.Many:
				p.lines.add(f, leaf)
			default:
				p.add(leaf.Group, newMove(f, leaf.Field, purpose, keys))
			}
		}
	}
	return p
}

func (p *projection) add(group *field.Field, m move) {
	if n := len(p.moves); n == 0 || p.moves[n-1].group != group {
		p.moves = append(p.moves, groupMoves{group: group})
	}
	last := &p.moves[len(p.moves)-1]
	last.moves = append(last.moves, m)
}

// newMove carries a field of the event over to one of the purpose's type: a pseudonym where that one is of bytes, else the value.
func newMove(to, from *field.Field, purpose string, keys *pseudonym.Keys) move {
	switch {
	case to.Part == field.Part_TOLD:
		return copied[bool](to, from.Told)
	case to.Part == field.Part_DOMAIN:
		return func(_ *arena, source, target unsafe.Pointer) {
			_, domain, _ := strings.Cut(*field.At[string](from, source), "@")
			*field.At[string](to, target) = domain
		}
	case to.Kind == field.Bytes:
		return func(a *arena, source, target unsafe.Pointer) {
			value := *field.At[string](from, source)
			if to.Part == field.Part_NETWORK {
				value = a.network(value)
			}
			if value != "" {
				*field.At[[]byte](to, target) = a.identifier(keys, purpose, from.Pseudonym, value)
			}
		}
	case to.Kind != from.Kind:
	case to.Kind == field.Text:
		return copied[string](to, from)
	case to.Kind == field.Int:
		return copied[int64](to, from)
	case to.Kind == field.Enum:
		return copied[int32](to, from)
	case to.Kind == field.Count:
		return copied[uint32](to, from)
	case to.Kind == field.Bool:
		return copied[bool](to, from)
	case to.Kind == field.Texts:
		return copied[[]string](to, from)
	}
	panic("filter: " + to.Name + " cannot hold " + from.Name)
}

func copied[T any](to, from *field.Field) move {
	return func(_ *arena, source, target unsafe.Pointer) { *field.At[T](to, target) = *field.At[T](from, source) }
}

// fill carries the event over to an empty message of the purpose's type.
func (p *projection) fill(to unsafe.Pointer, a *arena, ev *eventpb.Event) {
	for i := range p.moves {
		g := &p.moves[i]
		from := unsafe.Pointer(ev)
		if g.group != nil {
			if from = *field.At[unsafe.Pointer](g.group, from); from == nil {
				continue
			}
		}
		for _, m := range g.moves {
			m(a, from, to)
		}
	}
	if p.lines.identified && len(ev.Items) > 0 {
		*field.At[[]*vocab.Item](p.lines.to, to) = p.lines.of(a, ev.Items)
	}
}

// lineMoves carries the lines of an event over; none without their item ids.
type lineMoves struct {
	to         *field.Field
	moves      []move
	whole      bool // all there is is collected
	identified bool
}

func (l *lineMoves) add(to *field.Field, leaf field.Leaf) {
	l.to = to
	l.moves = append(l.moves, newMove(leaf.Field, leaf.Field, "", nil))
	l.whole = len(l.moves) == len(leaf.Group.Message.Fields)
	l.identified = l.identified || leaf.Name == "item_id"
}

// of are the lines with only what is collected.
func (l *lineMoves) of(a *arena, lines []*vocab.Item) []*vocab.Item {
	if l.whole {
		return lines
	}
	from := len(a.lines)
	for _, of := range lines {
		line := a.line()
		for _, m := range l.moves {
			m(a, unsafe.Pointer(of), unsafe.Pointer(line))
		}
		a.lines = append(a.lines, line)
	}
	return a.lines[from:len(a.lines):len(a.lines)]
}

// arena is the memory of one event's projections.
type arena struct {
	sums  []byte
	items []vocab.Item
	lines []*vocab.Item // of items
}

// since are the bytes that were appended after the place. They stay until the arena is reset.
func (a *arena) since(from int) []byte { return a.sums[from:len(a.sums):len(a.sums)] }

// subject is the purpose's pseudonym of the event's person.
func (a *arena) subject(keys *pseudonym.Keys, purpose string, w who) []byte {
	from := len(a.sums)
	a.sums = keys.AppendSubject(a.sums, purpose, w.subject, w.incarnation)
	return a.since(from)
}

// contributor is the subject's key in a window of the trending lists.
func (a *arena) contributor(keys *pseudonym.Keys, w who, window int64) []byte {
	from := len(a.sums)
	a.sums = keys.AppendContributor(a.sums, w.subject, w.incarnation, window)
	return a.since(from)
}

// identifier is the purpose's pseudonym of an identifier.
func (a *arena) identifier(keys *pseudonym.Keys, purpose, kind, value string) []byte {
	from := len(a.sums)
	a.sums = keys.AppendIdentifier(a.sums, purpose, kind, value)
	return a.since(from)
}

// network is what counts as one address of the network.
func (a *arena) network(ip string) string {
	from := len(a.sums)
	a.sums = canonical.AppendNetwork(a.sums, ip)
	text := a.since(from)
	return unsafe.String(unsafe.SliceData(text), len(text))
}

// event is the purpose's pseudonym of an event.
func (a *arena) event(keys *pseudonym.Keys, purpose string, h pseudonym.EventHash) []byte {
	from := len(a.sums)
	a.sums = keys.AppendEvent(a.sums, purpose, h)
	return a.since(from)
}

// floor is the opaque form of a floor.
func (a *arena) floor(keys *pseudonym.Keys, purpose, subject string, at privacyfilter.Revision) []byte {
	from := len(a.sums)
	a.sums = keys.AppendFloor(a.sums, purpose, subject, at)
	return a.since(from)
}

// line is an empty item that stays until the arena is reset.
func (a *arena) line() *vocab.Item {
	if n := len(a.items); n < cap(a.items) {
		a.items = a.items[:n+1]
	} else {
		a.items = append(a.items, vocab.Item{}) // who holds lines of the old array keeps it
	}
	line := &a.items[len(a.items)-1]
	line.Reset()
	return line
}

// reset gives the memory to the next event.
func (a *arena) reset() { a.sums, a.items, a.lines = a.sums[:0], a.items[:0], a.lines[:0] }
