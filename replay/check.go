package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"sluice/ingest"
)

// checkedRows is how many rows of each input Check shows.
const checkedRows = 5

// ErrWouldReject is returned by Check when a row that it shows would be rejected.
var ErrWouldReject = errors.New("rows would be rejected")

// Check writes what a replay would make of the first rows of every input, and which columns nothing reads. It needs no server and sends nothing.
func Check(ctx context.Context, o Options, w io.Writer) error {
	r, err := newRun(ctx, &o)
	if err != nil {
		return err
	}
	shown, rejected := 0, 0
	for _, in := range r.inputs {
		n, bad, err := r.checkRows(ctx, in, w)
		if err != nil {
			return err
		}
		shown, rejected = shown+n, rejected+bad
	}
	if rejected > 0 {
		return fmt.Errorf("%w: %d of the %d shown", ErrWouldReject, rejected, shown)
	}
	return nil
}

// checkRows shows the first rows of an input.
func (r *replay) checkRows(ctx context.Context, in input, w io.Writer) (shown, rejected int, err error) {
	file, err := r.o.open(ctx, in)
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	fmt.Fprintln(w, in.name+":")
	if file.detected != "" {
		fmt.Fprintln(w, " ", file.detected)
	}
	for shown < checkedRows {
		event, fault, err := r.checkRow(in.name, file)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return shown, rejected, &brokenError{in.name, file.rows, err}
		}
		shown++
		if fault == nil {
			fmt.Fprintf(w, "  %s %d: %s\n", file.unit(), file.at(), event)
			continue
		}
		rejected++
		fmt.Fprintf(w, "  %s %d: rejected, %s: %v\n", file.unit(), file.at(), strings.TrimSpace(fault.Code+" "+fault.Pointer), fault)
	}
	if shown == 0 {
		fmt.Fprintln(w, "  no rows")
	}
	if unread := r.o.Map.Unmapped(file.Columns()); len(unread) > 0 {
		fmt.Fprintln(w, "  columns that nothing reads:", strings.Join(unread, ", "))
	}
	return shown, rejected, nil
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
	if _, _, refused := ingest.Decode(event); refused != nil { // as the server would
		return nil, &Fault{Code: refused.Code, Pointer: refused.Pointer, Detail: refused.Detail}, nil
	}
	return event, nil, nil
}
