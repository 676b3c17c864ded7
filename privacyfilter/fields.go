package privacyfilter

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"sluice/ingest"
	"sluice/internal/field"
	"sluice/privacyfilter/purposepb"
)

// streams are the purposes with an event type of their own. Any other purpose is a decision only: nothing is projected for it.
var streams = []string{History, Trending, Personalize, Risk}

// types are the definitions of the purposes' types: the upper bound of the register.
var types = map[string]*field.Message{
	History: typeOf(new(purposepb.HistoryEvent)), Trending: typeOf(new(purposepb.TrendingEvent)),
	Personalize: typeOf(new(purposepb.PersonalEvent)), Risk: typeOf(new(purposepb.RiskEvent)),
}

// Type is the definition of the purpose's own type, nil for one without a stream.
func Type(purpose string) *field.Message { return types[purpose] }

// leaves are the fields of an event, as a register names them.
var leaves = func() map[string]field.Leaf {
	all := make(map[string]field.Leaf)
	for _, leaf := range ingest.Fields.Leaves() {
		all[leaf.Path] = leaf
	}
	return all
}()

// typeOf reads the definition of a purpose's type and holds it to what it takes its fields from. It panics on a field of no event, and on an identifier that
// would leave as it is: that is found at the first start.
func typeOf(m proto.Message) *field.Message {
	t := field.Of(m)
	for _, f := range t.Fields {
		for _, from := range f.From {
			leaf, known := leaves[from]
			switch {
			case !known && ingest.Fields.Field(from) == nil:
				panic("privacyfilter: " + t.Name + "." + f.Name + " is from " + from + ", which is no field of an event")
			case f.Part == field.Part_OWN || !known:
			case f.Kind == field.Bytes && leaf.Pseudonym == "", f.Kind == field.Text && leaf.Pseudonym != "" && f.Part != field.Part_DOMAIN:
				panic("privacyfilter: " + t.Name + "." + f.Name + ": of an identifier a purpose holds a pseudonym, and of nothing else")
			}
		}
	}
	return t
}

// envelope are the fields without which no purpose type makes sense: the person, the event's id, its type and its time.
var envelope = []string{"id", "type", "time", "user_id", "anonymous_id"}

// Fields lists the fields of an event that a register may name.
func Fields() []string {
	all := ingest.Fields.Leaves()
	names := make([]string, len(all))
	for i, leaf := range all {
		names[i] = leaf.Path
	}
	return names
}

// CanHold tells whether the purpose's type can hold the field at all, in whatever form; known is false for what is no field of an event.
func CanHold(purpose, name string) (can, known bool) {
	if _, known = leaves[name]; !known {
		return false, false
	}
	t := types[purpose]
	return t != nil && slices.ContainsFunc(t.Fields, func(f *field.Field) bool { return Holds(f, name) }), true
}

// Holds tells whether a field of a purpose's type is made from a field of the event.
func Holds(f *field.Field, name string) bool {
	group, _, _ := strings.Cut(name, ".")
	return slices.Contains(f.From, name) || f.Kind == field.Many && slices.Contains(f.From, group)
}
