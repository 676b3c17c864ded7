package risk

import (
	"reflect"
	"strings"
	"time"

	"sluice/risk/riskpb"
)

var answerType = reflect.TypeFor[Answer]()

// outcomeName is an outcome as the API writes it.
func outcomeName(o riskpb.Decision_Outcome) string { return strings.ToLower(o.String()) }

func timeOf(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// answerOf is the decision for its caller. It reads nothing but the decision, so that a stored one gives the same bytes.
func answerOf(d *riskpb.Decision) *Answer {
	a := &Answer{
		DecisionID: d.DecisionId, Outcome: outcomeName(d.Outcome), Score: d.Score, Reasons: make([]Reason, len(d.Reasons)), Rules: listed(d.Rules),
		ModelVersion: d.ModelVersion, PolicyVersion: d.PolicyVersion, FeaturesDigest: d.FeaturesDigest, AppealToken: d.AppealToken, ExpiresAt: timeOf(d.ExpiresAt),
		Warnings: make([]Warning, len(d.Warnings)),
	}
	for i, w := range d.Warnings {
		a.Warnings[i] = Warning{Pointer: w.Pointer, Code: w.Code, Detail: w.Detail}
	}
	for i, r := range d.Reasons {
		a.Reasons[i] = Reason{Code: r.Code, Value: shown(r)}
		if r.TellUser {
			a.Reasons[i].Text = r.Text
		}
	}
	return a
}

// detailOf is the decision for the analyst.
func detailOf(d *riskpb.Decision) Detail {
	out := Detail{
		DecisionID: d.DecisionId, Source: d.Source, EventType: d.EventType, Time: timeOf(d.Time), DecidedAt: timeOf(d.DecidedAt), ExpiresAt: timeOf(d.ExpiresAt),
		Outcome: outcomeName(d.Outcome), Score: d.Score, Reasons: make([]DetailReason, len(d.Reasons)), Rules: listed(d.Rules), ShadowRules: listed(d.ShadowRules),
		Undecided: make([]Undecided, len(d.Undecided)), ModelVersion: d.ModelVersion, PolicyVersion: d.PolicyVersion, FeaturesDigest: d.FeaturesDigest,
		AppealToken: d.AppealToken, Values: make([]UsedValue, len(d.Values)),
	}
	for i, r := range d.Reasons {
		out.Reasons[i] = DetailReason{Code: r.Code, Text: r.Text, Value: shown(r), TellUser: r.TellUser}
	}
	for i, u := range d.Undecided {
		out.Undecided[i] = Undecided{Rule: u.Rule, Missing: listed(u.Missing)}
	}
	for i, v := range d.Values {
		out.Values[i] = UsedValue{Name: v.Name}
		switch {
		case v.Missing:
		case v.Text != "":
			out.Values[i].Value = v.Text
		default:
			out.Values[i].Value = v.Number
		}
	}
	return out
}

// shown is a reason's value; nil if it has none.
func shown(r *riskpb.Reason) *float64 {
	if !r.HasValue {
		return nil
	}
	return &r.Value
}

// listed is never null in JSON.
func listed(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}
