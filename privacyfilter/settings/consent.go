package settings

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice/ingest/eventpb"
	"sluice/internal/httpx"
	"sluice/privacyfilter"
	"sluice/privacyfilter/consent"
	"sluice/privacyfilter/purposepb"
)

// Consent is what holds for a person.
type Consent struct {
	Policy       Policy                    `json:"policy"`
	Jurisdiction string                    `json:"jurisdiction" doc:"The person's recorded one, else that of the page's origin with a write key, else the deployment's."`
	Purposes     map[string]PurposeConsent `json:"purposes"`
	Revision     string                    `json:"revision" doc:"Of the newest record, for this person alone: opaque; empty if there is none."`
}

// Policy is whether the person has accepted the policy in force.
type Policy struct {
	Version  string `json:"version" doc:"In force."`
	Accepted bool   `json:"accepted" doc:"The person has accepted this very version."`
}

// PurposeConsent is what holds for one purpose.
type PurposeConsent struct {
	Effective string     `json:"effective" enum:"allow,deny"`
	Choice    *string    `json:"choice" enum:"allow,deny" doc:"The person's own; null if they made none."`
	Because   string     `json:"because" doc:"Why: policy_not_accepted, policy_superseded, choice, default, gpc; empty where the tier alone allows."`
	Since     *time.Time `json:"since" doc:"When the present uninterrupted allow began: 1970-01-01T00:00:00Z where it was imported; null where denied, and where an allow that the law asks for has no beginning."`
}

const (
	wordAllow = "allow"
	wordDeny  = "deny"
)

func wordOf(allow bool) string {
	if allow {
		return wordAllow
	}
	return wordDeny
}

func (s *service) getConsent(ctx context.Context, _ *struct{}) (*answer[Consent], error) {
	return read(s, subjectOf(ctx).person(), func(a *consent.Access) (*answer[Consent], error) {
		record := a.Record()
		out := Consent{
			Policy:       Policy{Version: s.Policy.PolicyVersion(), Accepted: record.PolicyVersion == s.Policy.PolicyVersion()},
			Jurisdiction: s.jurisdiction(subjectOf(ctx), record), Purposes: make(map[string]PurposeConsent), Revision: s.revisionText(ctx, a),
		}
		for _, p := range s.Policy.Purposes() {
			out.Purposes[p.Name] = purposeConsent(a, record, p)
		}
		return private(out), nil
	})
}

func purposeConsent(a *consent.Access, record consent.Record, p *privacyfilter.Purpose) PurposeConsent {
	decision := a.Effective(p.Name)
	out := PurposeConsent{Effective: wordOf(decision.Allow), Because: decision.Because}
	if choice, _ := record.Choice(p); choice != purposepb.Choice_CHOICE_NONE {
		word := wordOf(choice == purposepb.Choice_CHOICE_ALLOW)
		out.Choice = &word
	}
	if since, known := record.Since(p); decision.Allow && known {
		at := time.UnixMicro(since).UTC()
		out.Since = &at
	}
	return out
}

func (s *service) revisionText(ctx context.Context, a *consent.Access) string {
	return s.revisions.Text(a.Revision(), subjectOf(ctx).key())
}

// Origin is what every write says about itself.
type Origin struct {
	Surface  string `header:"Sluice-Surface" doc:"Where the control was used: settings or storefront. Anything else counts as api."`
	Revision string `header:"Sluice-Revision" maxLength:"64" doc:"Of a permission: the revision that the person's consent or blocks were shown with. It then yields to every newer restriction of the same thing, wherever the request was held up."`
}

type policyInput struct {
	Origin
	Body struct {
		Version      string `json:"version,omitempty" maxLength:"64" doc:"The version in force, as GET /v1/policy names it. May be left out when withdrawing."`
		Accepted     bool   `json:"accepted" doc:"False withdraws the acceptance."`
		Jurisdiction string `json:"jurisdiction,omitempty" maxLength:"16" doc:"Recorded for the person; unchanged if left out, and at first the deployment's, or with a write key that of the page's origin. With a write key it must be one in which no purpose may do more."`
	}
}

func (s *service) putPolicy(ctx context.Context, in *policyInput) (*answer[Written], error) {
	if problem := s.checkPolicy(in); problem != nil {
		return nil, problem
	}
	c := change{act: "policy", control: &eventpb.Control{Surface: surface(in.Surface), Act: &eventpb.Control_Policy_{Policy: &eventpb.Control_Policy{
		Version: in.Body.Version, Accepted: in.Body.Accepted, Jurisdiction: in.Body.Jurisdiction,
	}}}}
	if in.Body.Accepted {
		c.permit = &permission{
			told: in.Revision, opposite: (*restriction).GetDenyAll,
			holds: func(a *consent.Access) bool {
				record := a.Record()
				told := c.control.GetPolicy().Jurisdiction
				return record.PolicyVersion == in.Body.Version && (told == "" || record.Jurisdiction == told)
			},
		}
	} else {
		c.restrict, c.refuses = &restriction{DenyAll: true}, true
	}
	return s.change(ctx, c)
}

// jurisdiction is the person's as it stands: recorded, else the page's, else the deployment's.
func (s *service) jurisdiction(who subject, record consent.Record) string {
	return cmp.Or(record.Jurisdiction, who.page, s.Policy.DefaultJurisdiction())
}

// place makes the jurisdiction of a policy record what its caller may say. A server key is believed. With a write key it may narrow what stands, and what the page's
// origin gives, and never replace them: whoever holds the key, which is public, would turn what is denied by default into what is allowed.
func (s *service) place(who subject, a *consent.Access, policy *eventpb.Control_Policy) *httpx.Problem {
	if !who.public {
		return nil
	}
	policy.Narrows = true
	stands, told := s.jurisdiction(who, a.Record()), policy.Jurisdiction
	if told == "" && who.page != "" && s.Policy.NoWider(who.page, stands) {
		policy.Jurisdiction = who.page
	}
	widens := !s.Policy.NoWider(told, stands) || !s.Policy.NoWider(told, cmp.Or(who.page, stands))
	if told != "" && widens {
		const detail = "With a write key, the jurisdiction must be one in which no purpose may do more than in the person's own, the page's or the deployment's. A server key may name any."
		return httpx.NewProblem(http.StatusForbidden, "server_key_expected", detail, httpx.FieldError{Pointer: "/jurisdiction", Code: "server_key_expected", Detail: detail})
	}
	return nil
}

func (s *service) checkPolicy(in *policyInput) error {
	age := s.Policy.PolicyAge(in.Body.Version)
	known := age == 0 || !in.Body.Accepted && (age > 0 || in.Body.Version == "")
	if !known {
		return invalid("unknown_policy_version", "/version", "version must be the policy version in force, as GET /v1/policy names it")
	}
	if in.Body.Jurisdiction != "" && !s.places[in.Body.Jurisdiction] {
		return invalid("unknown_jurisdiction", "/jurisdiction", "jurisdiction must be one that the register knows")
	}
	return nil
}

type choiceInput struct {
	Origin
	Purpose string `path:"purpose" maxLength:"64"`
	Body    struct {
		Decision string `json:"decision" enum:"allow,deny"`
	}
}

func (s *service) putConsent(ctx context.Context, in *choiceInput) (*answer[Written], error) {
	p, ok := s.Policy.Purpose(in.Purpose)
	if !ok {
		return nil, problemPurpose()
	}
	if !p.Tier.Optional() {
		return nil, httpx.NewProblem(http.StatusUnprocessableEntity, "not_switchable", "This purpose has no switch: it is necessary for the service, or asked for by law.")
	}
	allow := in.Body.Decision == wordAllow
	c := change{act: "choice", control: &eventpb.Control{
		Surface: surface(in.Surface), Act: &eventpb.Control_Choice_{Choice: &eventpb.Control_Choice{Purpose: p.Name, Allow: allow}},
	}}
	if allow {
		c.permit = &permission{
			told: in.Revision, opposite: func(r *restriction) bool { return slices.Contains(r.Deny, p.Name) },
			holds: func(a *consent.Access) bool {
				choice, _ := a.Record().Choice(p)
				return choice == purposepb.Choice_CHOICE_ALLOW
			},
		}
	} else {
		c.restrict, c.refuses = &restriction{Deny: []string{p.Name}}, true
	}
	return s.change(ctx, c)
}

// PolicyText is the policy in force, as a notice shows it.
type PolicyText struct {
	Version  string        `json:"version"`
	Purposes []PurposeText `json:"purposes"`
}

// PurposeText is one use of personal data.
type PurposeText struct {
	Name   string `json:"name"`
	Doc    string `json:"doc"`
	Tier   string `json:"tier" enum:"basic,switchable,additional,legal"`
	Clause string `json:"clause" doc:"Of the policy."`
}

func (s *service) registerPolicy(api *httpx.API) {
	text := PolicyText{Version: s.Policy.PolicyVersion()}
	for _, p := range s.Policy.Purposes() {
		text.Purposes = append(text.Purposes, PurposeText{Name: p.Name, Doc: p.Doc, Tier: p.Tier.String(), Clause: p.Clause})
	}
	huma.Register(api.Huma, huma.Operation{
		OperationID: "get-policy", Method: http.MethodGet, Path: "/v1/policy", Summary: "The policy in force, and every purpose that the register names", Tags: []string{"settings"},
		Middlewares: api.Secure(httpx.RoleServer, httpx.RoleWrite), Security: httpx.Security(httpx.RoleServer, httpx.RoleWrite), Errors: []int{http.StatusUnauthorized, http.StatusForbidden},
	}, func(context.Context, *struct{}) (*struct{ Body PolicyText }, error) {
		return &struct{ Body PolicyText }{text}, nil
	})
}
