// Package tables lays out risk decisions as a table of the warehouse.
package tables

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/warehouse"
	"sluice/privacyfilter"
	"sluice/risk/riskpb"
)

// Sources are the decisions. They are kept as long as the register keeps what fraud control sees.
func Sources(reg *privacyfilter.Register) []*warehouse.Source {
	var keep time.Duration
	if p, ok := reg.Purpose(privacyfilter.Risk); ok {
		keep = reg.Retention(p.Retention)
	}
	return []*warehouse.Source{{Topic: topics.Decisions, Decode: decode, Tables: []*warehouse.Table{{
		Name: "decisions",
		Doc:  "What was decided about sign-ups, logins and payments, and why. The events are in risk_events, under the same event pseudonym.",
		Columns: []warehouse.Column{
			{Name: "decision_id", Kind: warehouse.String, Doc: "The decision's id, as its caller knows it."},
			{Name: "event", Kind: warehouse.Bytes, Doc: "The event: fraud control's pseudonym of its id, as in risk_events."},
			{Name: "subject", Kind: warehouse.Bytes, Doc: "Whose event it is: fraud control's pseudonym, as in risk_events."},
			{Name: "event_type", Kind: warehouse.String, Doc: "`sign_up`, `login` or `payment`."},
			{Name: "time", Kind: warehouse.Time, Doc: "When the event happened."},
			{Name: "decided_at", Kind: warehouse.Time, Doc: "When it was decided."},
			{Name: "expires_at", Kind: warehouse.Time, Doc: "Until when the caller may act on it."},
			{Name: "source", Kind: warehouse.String, Doc: "`api`: it was asked for; `log`: it was made afterwards, from the log."},
			{Name: "outcome", Kind: warehouse.String, Doc: "`allow`, `challenge`, `review` or `block`."},
			{Name: "score", Kind: warehouse.Int64, Doc: "The sum of the scores of the rules that hit, at most 1000."},
			{Name: "rules", Kind: warehouse.Strings, Doc: "Live rules that hit, in the order of the file."},
			{Name: "shadow_rules", Kind: warehouse.Strings, Doc: "Shadow rules that hit: they changed nothing."},
			{Name: "reasons", Kind: warehouse.Strings, Doc: "Reason codes, as the caller was told them."},
			{Name: "reason_values", Kind: warehouse.Strings, Doc: "Each reason's first number, in decimal; empty = it has none."},
			{Name: "undecided_rules", Kind: warehouse.Strings, Doc: "Rules that could not be judged, one entry for each value that one missed."},
			{Name: "undecided_missing", Kind: warehouse.Strings, Doc: "That value's name."},
			{Name: "feature_names", Kind: warehouse.Strings, Doc: "Features, and fields of the event, that the rules read."},
			{Name: "feature_values", Kind: warehouse.Strings, Doc: "Their values at the decision: a number in decimal, or a text; empty = missing."},
			{Name: "model_version", Kind: warehouse.String, Doc: "The model that was asked; empty = none."},
			{Name: "policy_version", Kind: warehouse.String, Doc: "The rules and settings that decided."},
			{Name: "features_digest", Kind: warehouse.String, Doc: "The definitions of the features that were read."},
		},
		Time: "time", Keep: keep, Key: []string{"decision_id"}, Subject: "subject", Event: "event",
	}}}}
}

// decode appends a decision's row. It leaves out what opens doors or points outside of fraud control: the appeal token, and the hash of the event as it was
// sent, which could be matched by guessing. The texts of reasons are in the rules, which policy_version names.
func decode(rec *stream.Record, out *warehouse.Rows) error {
	d := new(riskpb.Decision)
	if err := d.UnmarshalVT(rec.Value); err != nil {
		return fmt.Errorf("must be a Decision: %w", err)
	}
	if len(d.Event) == 0 || d.DecisionId == "" {
		return errors.New("must be a decision with an id and an event")
	}
	b := out.Batches[0]
	b.String(d.DecisionId)
	b.Bytes(d.Event)
	b.Bytes(d.Subject)
	b.String(d.EventType)
	b.Int(d.Time)
	b.Int(d.DecidedAt)
	b.Int(d.ExpiresAt)
	b.String(d.Source)
	b.String(outcomeName(d.Outcome))
	b.Int(int64(d.Score))
	b.StringList(d.Rules)
	b.StringList(d.ShadowRules)
	putReasons(b, d.Reasons)
	putUndecided(b, d.Undecided)
	putValues(b, d.Values)
	b.String(d.ModelVersion)
	b.String(d.PolicyVersion)
	b.String(d.FeaturesDigest)
	return b.End()
}

// outcomeName is an outcome as the API writes it.
func outcomeName(o riskpb.Decision_Outcome) string {
	if o == riskpb.Decision_OUTCOME_UNSPECIFIED {
		return ""
	}
	return strings.ToLower(o.String())
}

func putReasons(b *warehouse.Batch, reasons []*riskpb.Reason) {
	for _, r := range reasons {
		b.AddString(r.Code)
	}
	b.EndList()
	for _, r := range reasons {
		if r.HasValue {
			putNumber(b, r.Value)
		} else {
			b.AddString("")
		}
	}
	b.EndList()
}

// putUndecided appends a line for each value that a rule missed, and one for a rule that names none.
func putUndecided(b *warehouse.Batch, undecided []*riskpb.Undecided) {
	for _, u := range undecided {
		for range max(len(u.Missing), 1) {
			b.AddString(u.Rule)
		}
	}
	b.EndList()
	for _, u := range undecided {
		if len(u.Missing) == 0 {
			b.AddString("")
		}
		for _, name := range u.Missing {
			b.AddString(name)
		}
	}
	b.EndList()
}

func putValues(b *warehouse.Batch, used []*riskpb.Value) {
	for _, v := range used {
		b.AddString(v.Name)
	}
	b.EndList()
	for _, v := range used {
		switch {
		case v.Missing:
			b.AddString("")
		case v.Text != "":
			b.AddString(v.Text)
		default:
			putNumber(b, v.Number)
		}
	}
	b.EndList()
}

// putNumber appends the shortest decimal that reads back as the same value.
func putNumber(b *warehouse.Batch, v float64) {
	var text [32]byte
	b.AddBytes(strconv.AppendFloat(text[:0], v, 'f', -1, 64))
}
