package replay

import (
	"sluice/ingest"
	"sluice/internal/field"
	"sluice/internal/spell"
)

// kind is how a path's value is read from a cell and written into the event.
type kind uint8

const (
	kindText    kind = iota // a string, as it is
	kindTime                // a number or a date, by the map's time rule; written as RFC 3339
	kindMoney               // a decimal number, written without superfluous zeros
	kindDecimal             // the same, as a number
	kindInteger             // a whole number
	kindBool                // true, false, 1, 0
	kindJSON                // a JSON array, as a JSON lines file has it
)

// path is one place in the event that a map can fill.
type path struct {
	name  string // as maps have it: "order.value"
	group string // object that it stands in: "order", empty at the top
	field string // its member name: "value"
	kind  kind
}

// groups opens and closes the objects of the event. "items.x" means the row's one item.
var groups = func() map[string]struct{ open, shut string } {
	all := make(map[string]struct{ open, shut string })
	for _, f := range ingest.Fields.Fields {
		switch f.Kind {
		case field.One:
			all[f.Name] = struct{ open, shut string }{`"` + f.Name + `":{`, `}`}
		case field.Many:
			all[f.Name] = struct{ open, shut string }{`"` + f.Name + `":[{`, `}]`}
		}
	}
	return all
}()

// paths lists every place of the event in the order of the fields' numbers, which is the order that events are written in. Every derived id depends on it. It
// never changes, because a number is never used for another field.
var paths = func() []path {
	var all []path
	for _, f := range ingest.Fields.Fields {
		if f.Message == nil || f.Kind == field.Many {
			all = append(all, path{name: f.Name, field: f.Name, kind: kindOf(f)})
		}
		if f.Message == nil {
			continue
		}
		for _, inner := range f.Message.Fields {
			all = append(all, path{name: f.Name + "." + inner.Name, group: f.Name, field: inner.Name, kind: kindOf(inner)})
		}
	}
	return all
}()

func kindOf(f *field.Field) kind {
	switch f.Kind {
	case field.Many, field.Texts:
		return kindJSON
	case field.Count:
		return kindInteger
	case field.Bool:
		return kindBool
	case field.Int:
		switch f.Form {
		case field.Form_DECIMAL:
			return kindDecimal
		case field.Form_MONEY:
			return kindMoney
		}
		return kindTime
	default:
		return kindText
	}
}

// findPath is the index of a path by its name, or -1.
func findPath(name string) int {
	for i := range paths {
		if paths[i].name == name {
			return i
		}
	}
	return -1
}

// nearestPath is the path that a misspelt name most likely means, empty where none is near.
func nearestPath(name string) string {
	best, least := "", 4
	for i := range paths {
		if d := spell.Distance(name, paths[i].name); d < least {
			best, least = paths[i].name, d
		}
	}
	return best
}

// pointer is the RFC 6901 pointer to the path in the event.
func (p *path) pointer() string {
	switch f := ingest.Fields.Field(p.group); {
	case f == nil:
		return "/" + p.field
	case f.Kind == field.Many:
		return "/" + p.group + "/0/" + p.field
	default:
		return "/" + p.group + "/" + p.field
	}
}
