package crash

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/privacyfilter/purposepb"
	"sluice/risk/riskpb"
	"sluice/systemtest/run"
)

// verdict is what the comparison found. Everything but the sizes must be 0.
type verdict struct {
	Records      int64 `json:"records_in"` // on the log
	Events       int64 `json:"events_in"`
	Controls     int64 `json:"controls_in"`
	Acknowledged int64 `json:"acknowledged"` // events of the load
	Duplicates   int64 `json:"duplicates"`   // on the log again, on purpose or because an answer was lost
	Denied       int64 `json:"denied"`
	Outputs      int64 `json:"outputs"` // events on the purposes' topics and decisions
	StateKeys    int64 `json:"state_keys"`
	Overtaken    int64 `json:"overtaken"` // acknowledged permissions after which a repeated opt-out, sent earlier, reached the log: it holds

	Lost       int64 `json:"lost"`        // of the outputs, and acknowledged events that are not on the log
	Doubled    int64 `json:"doubled"`     // outputs
	Illegal    int64 `json:"illegal"`     // outputs that must not be
	Disordered int64 `json:"disordered"`  // outputs, and a person's events on the log
	WrongBytes int64 `json:"wrong_bytes"` // outputs that differ from those of an uninterrupted run
	WrongKeys  int64 `json:"wrong_keys"`  // state keys that differ from those of an uninterrupted run

	problems []string
}

// wrong tells whether anything was found.
func (v *verdict) wrong() bool {
	return v.Lost+v.Doubled+v.Illegal+v.Disordered+v.WrongBytes+v.WrongKeys > 0
}

func (v *verdict) problem(format string, args ...any) {
	if len(v.problems) < mostReported {
		v.problems = append(v.problems, fmt.Sprintf(format, args...))
	}
}

// judgement is the comparison under way.
type judgement struct {
	*verdict
	cluster stream.Cluster
	load    *load
	oracle  *oracle
	again   *again
}

// judge compares what the system left with the oracle's plain rules, with an uninterrupted run of the engines, and with what the load was told.
func judge(ctx context.Context, cluster stream.Cluster, ring *seal.Keyring, l *load, say run.SayFunc) (*verdict, error) {
	if err := unexpectedType(); err != nil {
		return nil, err
	}
	a, err := newAgain(cluster, ring)
	if err != nil {
		return nil, err
	}
	j := &judgement{verdict: new(verdict), cluster: cluster, load: l, oracle: newOracle(ring), again: a}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"log", j.log}, {"purposes", j.purposes}, {"entities", j.entities}, {"consent", j.consent}, {"decisions", j.decisions}, {"state", j.state}, {"answers", j.answers},
	} {
		if err := step.do(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
		say("compared: %s", step.name)
	}
	return j.verdict, nil
}

// read gives each record of a topic, in the order of its partition.
func (j *judgement) read(ctx context.Context, topic string, each func(rec stream.Record) error) error {
	var failed error
	err := stream.ReadAll(ctx, j.cluster, topic, func(recs []stream.Record) {
		for _, rec := range recs {
			if failed == nil {
				failed = each(rec)
			}
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// log reads the truth, and runs the filter over it.
func (j *judgement) log(ctx context.Context) error {
	err := j.read(ctx, topics.Events, func(rec stream.Record) error {
		if err := j.oracle.take(&rec); err != nil {
			return err
		}
		return j.again.take(rec)
	})
	o := j.oracle
	j.Records, j.Events, j.Controls, j.Duplicates, j.Denied = o.records, o.events, o.controls, o.duplicates, o.denied
	j.Disordered += int64(len(o.problems))
	for _, p := range o.problems {
		j.problem("%s", p)
	}
	return err
}

// eventIn are the pseudonyms of an event, by purpose; empty for a purge.
var eventIn = [len(purposes)]func(value []byte) ([]byte, error){
	ofHistory: func(value []byte) ([]byte, error) {
		var r purposepb.HistoryRecord
		err := r.UnmarshalVT(value)
		return r.GetEvent().GetEvent(), err
	},
	ofTrending: func(value []byte) ([]byte, error) {
		var r purposepb.TrendingRecord
		err := r.UnmarshalVT(value)
		return r.GetEvent().GetEvent(), err
	},
	ofPersonalize: func(value []byte) ([]byte, error) {
		var r purposepb.PersonalRecord
		err := r.UnmarshalVT(value)
		return r.GetEvent().GetEvent(), err
	},
	ofRisk: func(value []byte) ([]byte, error) {
		var r purposepb.RiskRecord
		err := r.UnmarshalVT(value)
		return r.GetEvent().GetEvent(), err
	},
}

// engineOf is the engine that reads each purpose's topic, in the order of purposes.
var engineOf = [len(purposes)]string{"history", "trending", "personal", ""}

// purposes compares each purpose's topic with the oracle, event by event, and with the uninterrupted run, byte by byte; and feeds the engine behind it.
func (j *judgement) purposes(ctx context.Context) error {
	for i, topic := range purposes {
		var events [stream.Partitions][]string
		var bytesOf [stream.Partitions][]sum
		err := j.read(ctx, topic, func(rec stream.Record) error {
			event, err := eventIn[i](rec.Value)
			if err != nil {
				return err
			}
			if len(event) > 0 {
				events[rec.Partition] = append(events[rec.Partition], string(event))
			}
			bytesOf[rec.Partition] = append(bytesOf[rec.Partition], sumOf(rec.Key, rec.Value))
			if engineOf[i] == "" {
				return nil
			}
			return j.again.engines[engineOf[i]].feed(rec)
		})
		if err != nil {
			return err
		}
		for p := range events {
			j.Outputs += int64(len(events[p]))
			j.compare(topic, p, j.oracle.expected[i][p], events[p])
			if want := j.again.emitted[topic]; want != nil {
				j.compareBytes(topic, p, want[p], bytesOf[p])
			}
		}
		if i == ofPersonalize {
			j.promises(events)
		}
	}
	return nil
}

// compare counts what is lost, doubled, illegal or out of order in a partition.
func (j *judgement) compare(topic string, partition int, want, got []string) {
	left := make(map[string]int, len(want))
	for _, id := range want {
		left[id]++
	}
	seen := make(map[string]bool, len(got))
	var lost, doubled, illegal int64
	for _, id := range got {
		switch {
		case left[id] > 0:
			left[id]--
		case seen[id]:
			doubled++
		default:
			illegal++
		}
		seen[id] = true
	}
	for _, n := range left {
		lost += int64(n)
	}
	j.Lost, j.Doubled, j.Illegal = j.Lost+lost, j.Doubled+doubled, j.Illegal+illegal
	if lost+doubled+illegal > 0 {
		j.problem("%s/%d: %d expected, %d there: %d lost, %d doubled, %d illegal", topic, partition, len(want), len(got), lost, doubled, illegal)
		return
	}
	var disordered int64
	for i := range want {
		if want[i] != got[i] {
			disordered++
		}
	}
	if j.Disordered += disordered; disordered > 0 {
		j.problem("%s/%d: %d of %d events are out of order", topic, partition, disordered, len(want))
	}
}

func (j *judgement) compareBytes(topic string, partition int, want, got []sum) {
	var wrong int64
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			wrong++
		}
	}
	if j.WrongBytes += wrong; wrong > 0 {
		j.problem("%s/%d: %d of %d records differ from an uninterrupted run", topic, partition, wrong, len(want))
	}
}

// promises compares personalize with what those who toggle were told. The log is asked about one thing alone: a denial that was sent more than once may reach
// it after the permission that followed, and then holds. It must have been received before that permission, and for each event that is excused so there must be
// one more of different denials on the log than were answered.
func (j *judgement) promises(events [stream.Partitions][]string) {
	there := make(map[string]bool)
	for p := range events {
		for _, pseudonym := range events[p] {
			there[j.oracle.personal[pseudonym]] = true
		}
	}
	for _, p := range j.load.togglers {
		repeated := len(j.oracle.of(p.subject()).denials) - p.denials
		for sequence, s := range p.events {
			id := eventID(p.number, sequence)
			switch {
			case s&must != 0 && !there[id] && j.oracle.overtaken[id] && repeated > 0:
				repeated--
				j.Overtaken++
			case s&must != 0 && !there[id]:
				j.Lost++
				j.problem("personalize has not got event %s, captured under an acknowledged permission", id)
			case s&mustNot != 0 && there[id]:
				j.Illegal++
				j.problem("personalize has got event %s, captured under an acknowledged opt-out", id)
			}
		}
	}
}

// entities compares what goes to the entities, whatever its order, and feeds their engine in the order that is there.
func (j *judgement) entities(ctx context.Context) error {
	left := j.again.entities
	err := j.read(ctx, topics.Entities, func(rec stream.Record) error {
		left[sumOf(rec.Key, rec.Value)]--
		return j.again.engines["entity"].feed(rec)
	})
	var lost, doubled int64
	for _, n := range left {
		lost += int64(max(0, n))
		doubled += int64(max(0, -n))
	}
	j.Lost, j.Doubled = j.Lost+lost, j.Doubled+doubled
	if lost+doubled > 0 {
		j.problem("entities: %d lost, %d doubled", lost, doubled)
	}
	return err
}

// consent compares the rows, the ledger and the dead letters.
func (j *judgement) consent(ctx context.Context) error {
	rows := make(map[string][]byte)
	err := j.read(ctx, topics.Consent, func(rec stream.Record) error {
		if len(rec.Key) > 0 && rec.Key[0] == 'r' {
			rows[string(rec.Key)] = rec.Value
		}
		return nil
	})
	if err != nil {
		return err
	}
	j.compareState("consent", j.again.rows, rows)
	for _, topic := range []string{topics.Ledger, topics.DeadLetters} {
		var got [stream.Partitions][]sum
		err := j.read(ctx, topic, func(rec stream.Record) error {
			got[rec.Partition] = append(got[rec.Partition], sumOf(rec.Key, rec.Value))
			return nil
		})
		if err != nil {
			return err
		}
		want := j.again.emitted[topic]
		if want == nil {
			want = new([stream.Partitions][]sum)
		}
		for p := range got {
			j.compareBytes(topic, p, want[p], got[p])
		}
	}
	return nil
}

// decisions looks whether each event that gets a decision has one, and whether those that were answered are the ones that are kept.
func (j *judgement) decisions(ctx context.Context) error {
	kept := make(map[string]*riskpb.Decision)
	err := j.read(ctx, topics.Decisions, func(rec stream.Record) error {
		d := new(riskpb.Decision)
		if err := d.UnmarshalVT(rec.Value); err != nil {
			return err
		}
		id, expected := j.oracle.decided[string(d.Event)]
		switch {
		case !expected:
			j.Illegal++
			j.problem("a decision on an event that gets none")
		case kept[id] != nil:
			j.Doubled++
			j.problem("event %s has two decisions", id)
		}
		kept[id] = d
		j.Outputs++
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range j.oracle.decided {
		if kept[id] == nil {
			j.Lost++
			j.problem("event %s has no decision", id)
		}
	}
	for id, told := range j.load.decided {
		if d := kept[id]; d != nil && (d.DecisionId != told.ID || !strings.EqualFold(d.Outcome.String(), told.Outcome)) {
			j.Illegal++
			j.problem("event %s: the decision that was answered is not the one that is kept", id)
		}
	}
	return nil
}

// state compares every engine's changelog, folded, with what an uninterrupted run keeps.
func (j *judgement) state(ctx context.Context) error {
	for name, run := range j.again.engines {
		if err := run.flush(); err != nil {
			return err
		}
		got := make(map[string][]byte)
		err := j.read(ctx, topics.State(name), func(rec stream.Record) error {
			key := string(append([]byte{byte(rec.Partition)}, rec.Key...))
			if rec.Value == nil {
				delete(got, key)
			} else {
				got[key] = rec.Value
			}
			return nil
		})
		if err != nil {
			return err
		}
		j.compareState("state of "+name, run.state, got)
	}
	return nil
}

func (j *judgement) compareState(what string, want, got map[string][]byte) {
	var missing, other, extra int64
	for key, value := range want {
		switch found, ok := got[key]; {
		case !ok:
			missing++
		case !bytes.Equal(found, value):
			other++
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			extra++
		}
	}
	j.StateKeys += int64(len(want))
	if wrong := missing + other + extra; wrong > 0 {
		j.WrongKeys += wrong
		j.problem("%s: of %d keys %d are missing, %d differ, %d are too many", what, len(want), missing, other, extra)
	}
}

// answers compares what the collectors said with the log.
func (j *judgement) answers(context.Context) error {
	for _, p := range j.load.people {
		for sequence, s := range p.events {
			id := eventID(p.number, sequence)
			switch on := j.oracle.log[id]; {
			case s&acked != 0 && !on:
				j.Lost++
				j.problem("event %s was acknowledged and is not on the log", id)
			case s&refused != 0 && on:
				j.Illegal++
				j.problem("event %s was denied and is on the log", id)
			}
			if s&acked != 0 {
				j.Acknowledged++
			}
		}
	}
	return nil
}
