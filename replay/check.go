package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"sluice/ingest"
)

// checkedRows is how many rows of each input Check reads.
const checkedRows = 5

// ErrWouldReject is returned by Check when a row that it read would be rejected.
var ErrWouldReject = errors.New("rows would be rejected")

// Preview is what a replay would make of the first rows of its inputs.
type Preview struct {
	Inputs   []InputPreview `json:"inputs"`
	Shown    int            `json:"shown"`
	Rejected int            `json:"rejected"` // of those shown
}

// InputPreview is the preview of one input.
type InputPreview struct {
	Input    string       `json:"input"`
	Detected string       `json:"detected,omitempty"` // what nobody had said, and was told from the file
	Unit     string       `json:"unit"`               // of positions: line or row
	Rows     []RowPreview `json:"rows"`
	Unread   []string     `json:"unread_columns"`
}

// RowPreview is the event that a row becomes, or why it would be rejected.
type RowPreview struct {
	Position int64           `json:"position"`
	Event    json.RawMessage `json:"event,omitempty"`
	Fault    *FaultPreview   `json:"rejected,omitempty"`
}

// FaultPreview is why a row would be rejected.
type FaultPreview struct {
	Code    string `json:"code"`
	Pointer string `json:"pointer,omitempty"`
	Detail  string `json:"detail"`
}

// Check reads the first rows of every input. It needs no server and sends nothing. With an error the preview holds what was read before.
func Check(ctx context.Context, o Options) (*Preview, error) {
	p := &Preview{Inputs: []InputPreview{}}
	r, err := newRun(ctx, &o)
	if err != nil {
		return p, err
	}
	for _, in := range r.inputs {
		if err := r.preview(ctx, in, p); err != nil {
			return p, err
		}
	}
	if p.Rejected > 0 {
		return p, fmt.Errorf("%w: %d of the %d shown", ErrWouldReject, p.Rejected, p.Shown)
	}
	return p, nil
}

// preview adds the first rows of an input.
func (r *replay) preview(ctx context.Context, in input, p *Preview) error {
	file, err := r.o.open(ctx, in)
	if err != nil {
		return err
	}
	defer file.Close()
	p.Inputs = append(p.Inputs, InputPreview{Input: in.name, Detected: file.detected, Rows: []RowPreview{}, Unread: []string{}})
	shown := &p.Inputs[len(p.Inputs)-1]
	defer func() { shown.Unit = file.unit() }()
	for len(shown.Rows) < checkedRows {
		event, fault, err := r.checkRow(in.name, file)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return &brokenError{in.name, file.rows, err}
		}
		row := RowPreview{Position: file.at(), Event: event}
		if fault != nil {
			row.Fault = &FaultPreview{fault.Code, fault.Pointer, fault.Error()}
			p.Rejected++
		}
		p.Shown++
		shown.Rows = append(shown.Rows, row)
	}
	shown.Unread = append(shown.Unread, r.o.Map.Unmapped(file.Columns())...)
	return nil
}

// checkRow makes an event of the next row, or tells why it cannot.
func (r *replay) checkRow(name string, file *source) (event []byte, fault *Fault, err error) {
	cells, err := file.Read()
	if bad := (*BadRow)(nil); errors.As(err, &bad) {
		return nil, &bad.Fault, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if err := r.mapper.bind(name, file); err != nil {
		return nil, nil, err
	}
	mapped, fault := r.mapper.Map(cells)
	if fault != nil {
		return nil, fault, nil
	}
	event = bytes.Clone(mapped.Event)
	if refused := r.refused(event); refused != nil {
		return nil, &Fault{Code: refused.Code, Pointer: refused.Pointer, Detail: refused.Detail}, nil
	}
	return event, nil, nil
}

// refused is why a server would refuse an event, nil if it would not.
func (r *replay) refused(event []byte) *ingest.Fault {
	ev, warnings, fault := ingest.Decode(event)
	if fault == nil {
		_, fault = r.o.Forms.Apply(ev, warnings)
	}
	return fault
}

// Print writes the preview as text.
func (p *Preview) Print(w io.Writer) error {
	var out bytes.Buffer
	for i := range p.Inputs {
		p.Inputs[i].print(&out)
	}
	_, err := w.Write(out.Bytes())
	return err
}

func (in *InputPreview) print(w io.Writer) {
	fmt.Fprintln(w, in.Input+":")
	if in.Detected != "" {
		fmt.Fprintln(w, " ", in.Detected)
	}
	for _, row := range in.Rows {
		if row.Fault == nil {
			fmt.Fprintf(w, "  %s %d: %s\n", in.Unit, row.Position, row.Event)
			continue
		}
		fmt.Fprintf(w, "  %s %d: rejected, %s: %s\n", in.Unit, row.Position, strings.TrimSpace(row.Fault.Code+" "+row.Fault.Pointer), row.Fault.Detail)
	}
	if len(in.Rows) == 0 {
		fmt.Fprintln(w, "  no rows")
	}
	if len(in.Unread) > 0 {
		fmt.Fprintln(w, "  columns that nothing reads:", strings.Join(in.Unread, ", "))
	}
}
