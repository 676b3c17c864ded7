package privacyfilter

import (
	"sluice/internal/vocab"
	"sluice/privacyfilter/purposepb"
)

// Reasons of a decision, as GET consent shows them. An empty one: the tier alone allows.
const (
	BecausePolicyNotAccepted = "policy_not_accepted"
	BecausePolicySuperseded  = "policy_superseded" // a newer version is a major change for this purpose
	BecauseChoice            = "choice"
	BecauseDefault           = "default" // of the jurisdiction
	BecauseGPC               = "gpc"
	BecauseDevice            = "device"  // the device's own records say so
	BecauseAccount           = "account" // the account's do
	BecauseUnregistered      = "unregistered"
)

// Decision is whether a purpose may use a subject's data, and why.
type Decision struct {
	Allow   bool
	Because string
}

// Effective is what holds for the purpose by a subject's row alone (nil: no records). It is a pure function.
// jurisdiction is an event's own ("" = none told): it can turn an allow into a deny, never the reverse.
func (r *Register) Effective(row *purposepb.ConsentRow, p *Purpose, jurisdiction string) Decision {
	if p == nil {
		return Decision{Because: BecauseUnregistered}
	}
	if p.Tier == Legal {
		return Decision{Allow: true}
	}
	if d := r.Accepted(row, p); !d.Allow || p.Tier == Basic {
		return d
	}
	switch StateOf(row, p.Name).GetChoice() {
	case purposepb.Choice_CHOICE_ALLOW:
		return Decision{Allow: true, Because: BecauseChoice}
	case purposepb.Choice_CHOICE_DENY:
		return Decision{Because: BecauseChoice}
	}
	allow := p.Default[r.jurisdictionOf(row)]
	if jurisdiction != "" && !p.Default[jurisdiction] {
		allow = false
	}
	return Decision{Allow: allow, Because: BecauseDefault}
}

// EffectiveFor is Effective for an event of the type. A type that the purpose does not list is denied. A legal purpose's further types wait for the acceptance
// of the policy.
func (r *Register) EffectiveFor(row *purposepb.ConsentRow, p *Purpose, t vocab.Type, jurisdiction string) Decision {
	if p == nil || !p.Takes(t) {
		return Decision{Because: BecauseUnregistered}
	}
	if p.AfterAcceptance(t) {
		return r.Accepted(row, p)
	}
	return r.Effective(row, p, jurisdiction)
}

// Narrows tells whether a request that carries Global Privacy Control may not be served by, nor used for, the purpose.
func (p *Purpose) Narrows(gpc bool) bool { return gpc && p.Tier.Optional() }

// Accepted tells whether the subject has accepted a policy version that holds for the purpose.
func (r *Register) Accepted(row *purposepb.ConsentRow, p *Purpose) Decision {
	if row.GetPolicyVersion() == "" {
		return Decision{Because: BecausePolicyNotAccepted}
	}
	age := r.PolicyAge(row.PolicyVersion)
	if age < 0 {
		return Decision{Because: BecausePolicyNotAccepted}
	}
	if r.superseded[age].has(p.Index) {
		return Decision{Because: BecausePolicySuperseded}
	}
	return Decision{Allow: true}
}

func (r *Register) jurisdictionOf(row *purposepb.ConsentRow) string {
	if j := row.GetJurisdiction(); j != "" {
		return j
	}
	return r.jurisdiction
}

// StateOf is the row's state of the purpose, nil if it has none.
func StateOf(row *purposepb.ConsentRow, purpose string) *purposepb.PurposeState {
	if row == nil {
		return nil
	}
	for _, s := range row.Purposes {
		if s.Purpose == purpose {
			return s
		}
	}
	return nil
}
