package privacyfilter

import (
	"sync"

	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// Shape is what many people's rows share, compiled for one register. It is immutable.
type Shape struct {
	Row      *purposepb.ConsentRow // without places, times and blocks
	Answered bool                  // the person has said something about consent; a block, say, is no such record

	register *Register
	stands   []stand // by index of the purpose
	grants   int     // that the row must have
}

// stand is what a row says of one purpose.
type stand struct {
	decision Decision
	accepted bool                    // a policy version that holds for the purpose
	state    *purposepb.PurposeState // nil: none
	grant    int                     // number of the row's grant, 0 = none
}

// Decision is what holds for the purpose, Register.Effective.
func (s *Shape) Decision(p *Purpose) Decision { return s.stands[p.Index].decision }

// Allows is Register.EffectiveFor, of what is allowed.
func (s *Shape) Allows(p *Purpose, t vocab.Type, jurisdiction string) bool {
	at := &s.stands[p.Index]
	switch {
	case !p.Takes(t):
		return false
	case p.AfterAcceptance(t):
		return at.accepted
	case !at.decision.Allow || jurisdiction == "" || jurisdiction == s.Row.Jurisdiction:
		return at.decision.Allow
	default:
		return s.register.Effective(s.Row, p, jurisdiction).Allow
	}
}

// State is what the row says of the purpose, without places and times; nil if nothing.
func (s *Shape) State(p *Purpose) *purposepb.PurposeState { return s.stands[p.Index].state }

// Grant is the place of the purpose's grant among the row's; negative if it has none.
func (s *Shape) Grant(p *Purpose) int { return s.stands[p.Index].grant - 1 }

// Row is a row as decisions read it. Its memory is used again.
type Row struct {
	*Shape
	Revision Revision
	Grants   []Grant
}

// Grant is the purpose's grant; false if it has none.
func (r *Row) Grant(p *Purpose) (Grant, bool) {
	if i := r.Shape.Grant(p); i >= 0 {
		return r.Grants[i], !r.Grants[i].Floor.IsZero()
	}
	return Grant{}, false
}

// Shapes are the shapes of rows, each compiled once. It is safe for concurrent use.
type Shapes struct {
	register *Register
	none     *Shape

	mu    sync.Mutex // guards known
	known map[string]*Shape
}

// maxShapes is how many shapes are found again. When there are more, all are compiled anew: rows keep theirs.
const maxShapes = 1 << 16

// NewShapes makes shapes for a register.
func NewShapes(register *Register) *Shapes {
	s := &Shapes{register: register, known: make(map[string]*Shape)}
	s.none = s.compile(new(purposepb.ConsentRow), nil)
	return s
}

// None is the shape of someone without a row.
func (s *Shapes) None() *Shape { return s.none }

// Read reads what decisions need of a row, into memory that is used again. No data: there is no row.
func (s *Shapes) Read(into *Row, data []byte) error {
	if len(data) == 0 {
		*into = Row{Shape: s.none, Grants: into.Grants[:0]}
		return nil
	}
	r := &rowReader{data: data}
	shape, err := s.find(r.bytes())
	if err != nil {
		return err
	}
	*into = Row{Shape: shape, Revision: r.revision(), Grants: r.grants(into.Grants[:0])}
	if r.broken || len(into.Grants) < shape.grants {
		return errRow
	}
	return nil
}

func (s *Shapes) find(encoded []byte) (*Shape, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if shape := s.known[string(encoded)]; shape != nil {
		return shape, nil
	}
	r, row := &rowReader{data: encoded}, new(purposepb.ConsentRow)
	numbers := r.shape(row)
	if r.broken {
		return nil, errRow
	}
	if len(s.known) >= maxShapes {
		clear(s.known)
	}
	shape := s.compile(row, numbers)
	s.known[string(encoded)] = shape
	return shape, nil
}

func (s *Shapes) compile(row *purposepb.ConsentRow, grants []int) *Shape {
	out := &Shape{
		Row: row, register: s.register, stands: make([]stand, len(s.register.purposes)),
		Answered: row.PolicyVersion != "" || row.Jurisdiction != "", // which every answer to the policy leaves behind
	}
	for i, state := range row.Purposes {
		out.Answered = out.Answered || state.Choice != purposepb.Choice_CHOICE_NONE
		out.grants = max(out.grants, grants[i])
		if p, ok := s.register.Purpose(state.Purpose); ok && out.stands[p.Index].state == nil {
			out.stands[p.Index].state, out.stands[p.Index].grant = state, grants[i]
		}
	}
	for _, p := range s.register.purposes {
		out.stands[p.Index].decision = s.register.Effective(row, p, "")
		out.stands[p.Index].accepted = s.register.Accepted(row, p).Allow
	}
	return out
}
