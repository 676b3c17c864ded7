package tables

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"sluice/ingest"
	"sluice/ingest/eventpb"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/warehouse"
	"sluice/privacyfilter"
)

// ledgerSource opens the ledger's records. It leaves sealed what a choice was about beyond its purpose: a blocked item is no proof of consent, and the id of a
// deleted footprint would lead from this table's pseudonym to the history's.
func ledgerSource(keep time.Duration, ring *seal.Keyring) *warehouse.Source {
	l := &ledger{ring}
	return &warehouse.Source{Topic: topics.Ledger, Decode: l.decode, Tables: []*warehouse.Table{{
		Name: "consents",
		Doc: "What people chose: every record of the ledger in the order of its revisions, one row for each purpose that it is about. A withdrawal is a row, too; " +
			"nothing here is deleted before its time. It says what was asked for: a record that yields to another one is here as well.",
		Columns: []warehouse.Column{
			{Name: "subject", Kind: warehouse.Bytes, Doc: "Whose choice it is: the log's pseudonym of the account, or of the device that has none. No other table has it."},
			{Name: "revision", Kind: warehouse.String, Doc: "The record's place in the log: generation, partition and number, such as `1-5-4711`. The settings tell it to the person in another form, which nobody can make up."},
			{Name: "time", Kind: warehouse.Time, Doc: "When it was received."},
			{Name: "act", Kind: warehouse.String, Doc: "`policy`, `choice`, `block`, `delete_history` or `import`."},
			{Name: "purpose", Kind: warehouse.String, Doc: "The purpose that was allowed or denied; empty = the policy, or no single purpose."},
			{Name: "decision", Kind: warehouse.String, Doc: "`accepted` or `withdrawn` (policy), `allow` or `deny` (choice), `block` or `unblock`, `delete`."},
			{Name: "object", Kind: warehouse.String, Doc: "What kind of thing a block (`item`, `category`) or a deletion (`event`, `everything`) is about, never which one."},
			{Name: "policy_version", Kind: warehouse.String, Doc: "The version that was accepted or withdrawn."},
			{Name: "jurisdiction", Kind: warehouse.String, Doc: "The person's, where the record tells it."},
			{Name: "effective_at", Kind: warehouse.Time, Doc: "From when it holds: of an import, what its file says; else `time`."},
			{Name: "surface", Kind: warehouse.String, Doc: "Where the control was used: `settings`, `storefront`, `api`, `import`."},
			{Name: "known", Kind: warehouse.String, Doc: "Of a permission: up to which revision the person's restrictions were known where it was asked for; empty = none, or not told. " +
				"It has no effect if a restriction of the same thing stands between that and its own revision."},
		},
		Time: "time", Keep: keep, Key: []string{"subject", "revision", "purpose"}, Subject: "subject",
	}}}
}

type ledger struct{ ring *seal.Keyring }

// consentRow is one row without what all rows of a record share.
type consentRow struct {
	act, purpose, decision, object, version, jurisdiction string
	effective                                             int64
}

func (l *ledger) decode(rec *stream.Record, out *warehouse.Rows) error {
	if len(rec.Key) != idSize+privacyfilter.RevisionBytes {
		return errors.New("the key must be a pseudonym and a revision")
	}
	subject := rec.Key[:idSize]
	lr := new(eventpb.LogRecord)
	if err := lr.UnmarshalVT(rec.Value); err != nil || lr.Kind != eventpb.LogRecord_CONTROL {
		return errors.New("must be a LogRecord with a control")
	}
	control, err := l.open(subject, lr)
	if err != nil {
		return err
	}
	b, revision := out.Batches[0], revisionOf(rec.Key[idSize:]).String()
	for _, row := range consentRows(control, lr.ReceivedAt) {
		b.Bytes(subject)
		b.String(revision)
		b.Int(lr.ReceivedAt)
		b.String(row.act)
		b.String(row.purpose)
		b.String(row.decision)
		b.String(row.object)
		b.String(row.version)
		b.String(row.jurisdiction)
		b.Int(row.effective)
		b.String(control.Surface)
		b.String(control.GetKnown())
		if err := b.End(); err != nil {
			return err
		}
	}
	return nil
}

// revisionOf reads what Revision.Append wrote.
func revisionOf(b []byte) privacyfilter.Revision {
	return privacyfilter.Revision{
		Generation: binary.BigEndian.Uint32(b), Partition: int32(binary.BigEndian.Uint32(b[4:])), Offset: int64(binary.BigEndian.Uint64(b[8:])),
	}
}

func (l *ledger) open(subject []byte, lr *eventpb.LogRecord) (*eventpb.Control, error) {
	body, err := ingest.OpenBody(l.ring, subject, lr, nil)
	if err != nil {
		return nil, err
	}
	control := new(eventpb.Control)
	if err := control.UnmarshalVT(body); err != nil {
		return nil, fmt.Errorf("the body must be a Control: %w", err)
	}
	if key := l.ring.LogKey(control.Subject); !bytes.Equal(key[:], subject) {
		return nil, errors.New("the body's subject must be that of the record's key")
	}
	return control, nil
}

// consentRows are a record's rows: the policy's, if it is about it, and one for each purpose.
func consentRows(c *eventpb.Control, received int64) []consentRow {
	row := consentRow{effective: received}
	switch act := c.Act.(type) {
	case *eventpb.Control_Policy_:
		row.act, row.decision = "policy", either(act.Policy.Accepted, "accepted", "withdrawn")
		row.version, row.jurisdiction = act.Policy.Version, act.Policy.Jurisdiction
	case *eventpb.Control_Choice_:
		row.act, row.purpose, row.decision = "choice", act.Choice.Purpose, either(act.Choice.Allow, "allow", "deny")
	case *eventpb.Control_Block_:
		row.act, row.decision = "block", either(act.Block.Remove, "unblock", "block")
		row.object = either(act.Block.Kind == eventpb.Control_Block_CATEGORY, "category", "item")
	case *eventpb.Control_DeleteHistory_:
		row.act, row.decision, row.object = "delete_history", "delete", either(len(act.DeleteHistory.Event) > 0, "event", "everything")
	case *eventpb.Control_Import_:
		return importRows(act.Import)
	default:
		return nil // of a later version: the ledger has it
	}
	return []consentRow{row}
}

func importRows(i *eventpb.Control_Import) []consentRow {
	row := consentRow{act: "import", decision: "accepted", version: i.PolicyVersion, jurisdiction: i.Jurisdiction, effective: i.EffectiveAt}
	rows := []consentRow{row}
	row.decision = "allow"
	for _, purpose := range i.Grants {
		row.purpose = purpose
		rows = append(rows, row)
	}
	return rows
}

func either(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}
