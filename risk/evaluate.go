package risk

import (
	"slices"

	"github.com/expr-lang/expr/vm"

	"sluice/features/entity"
	"sluice/privacyfilter/purposepb"
	"sluice/risk/riskpb"
)

// sheet holds the values of one event on which conditions are judged. It is used again and again, by one goroutine at a time.
type sheet struct {
	values  []value        // by slot
	present []bool         // by slot
	env     map[string]any // the present values by name, as expr reads them; what is not present may be an older event's
	vm      vm.VM
}

func newSheet(slots int) *sheet {
	return &sheet{
		values: make([]value, slots), present: make([]bool, slots), env: make(map[string]any, slots), vm: vm.VM{MemoryBudget: memoryBudget},
	}
}

// sheet is an empty sheet, to be put back into c.sheets.
func (c *Config) sheet() *sheet {
	s := c.sheets.Get().(*sheet) //nolint:forcetypeassert // the pool's New makes nothing else
	clear(s.present)
	return s
}

func (s *sheet) set(at *slot, slot int, v value) {
	s.values[slot], s.present[slot] = v, true
	switch at.kind {
	case textKind:
		s.env[at.name] = v.text
	case flagKind:
		s.env[at.name] = v.flag
	default:
		s.env[at.name] = v.number
	}
}

// read fills the sheet with what the rules read of an event and its features.
func (c *Config) read(s *sheet, ev *purposepb.RiskEvent, features *entity.Values) {
	for i := range c.slots {
		at := &c.slots[i]
		if at.field != nil {
			if v, ok := at.field.read(ev); ok {
				s.set(at, i, v)
			}
			continue
		}
		if n, ok := numberAt(features, at.feature, at.name); ok {
			s.set(at, i, value{number: n})
		}
	}
}

// numberAt is a feature's value; false if it is missing, or if the values are of another configuration.
func numberAt(features *entity.Values, i int, name string) (float64, bool) {
	if i < 0 || i >= len(features.Names) || features.Names[i] != name || features.Missing[i] || !finite(features.Numbers[i]) {
		return 0, false
	}
	return features.Numbers[i], true
}

// evaluate judges an event by every rule that is in force at its time, and writes outcome, score, reasons and rules into d.
// The strictest outcome wins, of the rules that hit and of the thresholds that the sum of their scores reaches. Shadow rules are noted apart.
func (c *Config) evaluate(s *sheet, ev *purposepb.RiskEvent, d *riskpb.Decision) {
	d.Outcome = riskpb.Decision_ALLOW
	for _, r := range c.rules {
		if !r.judges(ev) {
			continue
		}
		switch r.when.judge(s) {
		case yes:
			c.hit(r, s, d)
		case unknown:
			d.Undecided = append(d.Undecided, &riskpb.Undecided{Rule: r.id, Missing: c.names(r.when.missing(s, nil))})
		}
	}
	d.Outcome = max(d.Outcome, c.thresholds.outcome(d.Score))
}

func (c *Config) hit(r *rule, s *sheet, d *riskpb.Decision) {
	if !r.live {
		d.ShadowRules = append(d.ShadowRules, r.id)
		return
	}
	d.Rules = append(d.Rules, r.id)
	d.Outcome = max(d.Outcome, r.outcome)
	d.Score = min(d.Score+r.score, maxScore)
	if slices.ContainsFunc(d.Reasons, func(other *riskpb.Reason) bool { return other.Code == r.reason.Code }) {
		return
	}
	reason := &riskpb.Reason{Code: r.reason.Code, Text: r.reason.Text, TellUser: r.reason.TellUser}
	for _, slot := range r.reads {
		if c.slots[slot].kind == numberKind && s.present[slot] {
			reason.Value, reason.HasValue = s.values[slot].number, true
			break
		}
	}
	d.Reasons = append(d.Reasons, reason)
}

// outcome is what the score alone leads to.
func (t thresholds) outcome(score uint32) riskpb.Decision_Outcome {
	reached := func(threshold uint32) bool { return threshold > 0 && score >= threshold }
	switch {
	case reached(t.block):
		return riskpb.Decision_BLOCK
	case reached(t.review):
		return riskpb.Decision_REVIEW
	case reached(t.challenge):
		return riskpb.Decision_CHALLENGE
	default:
		return riskpb.Decision_ALLOW
	}
}
