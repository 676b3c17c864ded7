package replay

import "errors"

// Remapper maps rejected rows again, each with its own columns, as dead letters keep them. It is what deadletter.RowMapper asks for.
type Remapper struct{ mapper *Mapper }

// NewRemapper makes a remapper. Like a run, it remembers which rows it has seen.
func NewRemapper(m *Map) *Remapper { return &Remapper{NewMapper(m)} }

// MapRow makes an event of a row as a JSON object, column → value. The error, a *Fault where the map is at odds with the row, names the column and never holds a value.
// The event is the caller's.
func (r *Remapper) MapRow(payload []byte) ([]byte, error) {
	row := &objects{index: make(map[string]int)}
	if row.object(payload) != nil {
		return nil, errors.New("a row must be a JSON object")
	}
	if err := r.mapper.Bind("the dead letter", row.columns, true); err != nil {
		return nil, err
	}
	mapped, fault := r.mapper.Map(row.cells)
	if fault != nil {
		return nil, fault
	}
	return append([]byte(nil), mapped.Event...), nil
}
