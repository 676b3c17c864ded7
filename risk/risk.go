// Package risk decides about sign-ups, logins and payments: rules in YAML over an event's own values and the features of its entities.
//
// # What a decision guarantees
//
// A decision is a function of the rules (policy_version), the event, and the feature values that stand in it (values, features_digest):
// with these three it can be made again, and comes out the same. It is made once for an event: the first one on the log wins.
//
//   - A decision of the API is written with its event in one record before it is answered, so that there is never one without the other.
//   - An event that reached the log otherwise is decided by the decider, from the record, at the event's own time.
//   - The same event again gets the stored answer, also after a restart, once the record has passed the filter and the decider.
//     Two nodes that are sent the same event within that time may answer differently; the log keeps the first, and from then on both answer it.
//
// The feature values are those that this node knew: what the entity view has followed, and over it the events that this node has itself seen
// and the view has not shown yet. While the features catch up, after a start or during a replay, they are behind by what is not yet processed;
// that is why a decision records what it used. Features never count the event that is being decided.
package risk

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/features/entity"
	"sluice/privacyfilter/purposepb"
	"sluice/risk/riskpb"
)

// Entities is what a decision reads of the past. *entity.View is one.
type Entities interface {
	// Overlay counts an event that this node has seen and the view may not have shown yet. The same event again changes nothing.
	Overlay(ev *purposepb.RiskEvent)
	// Values are the risk features of an event, the event itself excluded.
	Values(ev *purposepb.RiskEvent) entity.Values
}

var _ Entities = (*entity.View)(nil)

// Options of a decider.
type Options struct {
	Config     *Config
	Entities   Entities
	AppealKey  [32]byte              // under which appeal tokens are made; never change it while decisions can be appealed
	Registerer prometheus.Registerer // nil = no metrics
	Logger     *slog.Logger          // nil = none
	Now        func() time.Time      // nil = the wall clock; only to tell which rules have expired, events are judged by their own time
}

// Decider makes decisions. It is safe for concurrent use; a process needs one.
type Decider struct {
	config   *Config
	entities Entities
	key      [32]byte
	metrics  *metrics
}

// New makes a decider, and says which of its rules have expired.
func New(o Options) *Decider {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if expired := o.Config.Expired(o.Now().UnixMicro()); len(expired) > 0 {
		o.Logger.Warn("rules have expired and do not run; their owners must look at them", "rules", strings.Join(expired, ", "))
	}
	return &Decider{config: o.Config, entities: o.Entities, key: o.AppealKey, metrics: newMetrics(o.Registerer, o.Config, o.Now)}
}

// Sources of a decision.
const (
	sourceAPI = "api"
	sourceLog = "log"
)

// modelVersion says that no model takes part: rules alone decide.
const modelVersion = "none"

// decide judges an event on what is known now. The event counts for others from here on, whether or not it comes to be logged: an attempt is evidence.
// Overlaying before reading makes at least one of two concurrent events see the other.
func (d *Decider) decide(ev *purposepb.RiskEvent, source string, at int64) *riskpb.Decision {
	d.entities.Overlay(ev)
	values := d.entities.Values(ev)
	id := idOf(ev.Event)
	out := &riskpb.Decision{
		DecisionId: id.String(), Event: ev.Event, Subject: ev.Subject, EventType: ev.Type.Name(), Time: ev.Time,
		ModelVersion: modelVersion, PolicyVersion: d.config.version, AppealToken: AppealToken(d.key, id),
		DecidedAt: at, ExpiresAt: at + d.config.ttl.Microseconds(), Source: source,
	}
	s := d.config.sheet()
	d.config.read(s, ev, &values)
	d.config.evaluate(s, ev, out)
	out.Values = d.config.used(s, &values)
	d.config.sheets.Put(s)
	out.FeaturesDigest = digest(out.Values)
	return out
}

// used are the values that a decision stands on: every feature, since models and backtests need them all, and what the rules read of the event.
func (c *Config) used(s *sheet, features *entity.Values) []*riskpb.Value {
	list := make([]riskpb.Value, len(features.Names)+len(c.slots))
	used := make([]*riskpb.Value, 0, len(list))
	next := func(name string) *riskpb.Value {
		v := &list[len(used)]
		v.Name = name
		used = append(used, v)
		return v
	}
	for i, name := range features.Names {
		v := next(name)
		if n, ok := numberAt(features, i, name); ok {
			v.Number = n
		} else {
			v.Missing = true
		}
	}
	for i := range c.slots {
		at := &c.slots[i]
		if at.field == nil {
			continue
		}
		v := next(at.name)
		switch read := &s.values[i]; {
		case !s.present[i]:
			v.Missing = true
		case at.kind == textKind:
			v.Text = read.text
		case at.kind == flagKind && read.flag:
			v.Number = 1
		default:
			v.Number = read.number
		}
	}
	return used
}

// digest is "sha256:" and the digest of the values in their order: name, NUL, 0 or 1 for missing, the number's bits, the text's length and the text.
func digest(values []*riskpb.Value) string {
	buf := make([]byte, 0, 64*len(values))
	for _, v := range values {
		buf = append(append(buf, v.Name...), 0)
		if v.Missing {
			buf = append(buf, 1)
		} else {
			buf = append(buf, 0)
		}
		buf = binary.BigEndian.AppendUint64(buf, math.Float64bits(v.Number))
		buf = append(binary.BigEndian.AppendUint32(buf, uint32(len(v.Text))), v.Text...)
	}
	sum := sha256.Sum256(buf)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ID names a decision: a hash of the event's risk pseudonym, so that API and log give the same event the same id.
type ID [16]byte

// idOf is the id of an event's decision.
func idOf(event []byte) ID {
	h := sha256.Sum256(append([]byte("sluice decision\x00"), event...))
	return ID(h[:16])
}

// String is the id as answers show it: 32 hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID reads what String gives.
func ParseID(s string) (ID, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(ID{}) {
		return ID{}, errors.New("a decision id must be 32 hexadecimal digits")
	}
	return ID(b), nil
}

// ErrBadToken is returned for an appeal token that was not made under the key.
var ErrBadToken = errors.New("an appeal token must come from a decision")

// AppealToken lets its holder appeal the decision: base64url(id ‖ the first 16 bytes of HMAC-SHA-256 under the key).
func AppealToken(key [32]byte, id ID) string {
	return base64.RawURLEncoding.EncodeToString(append(id[:], appealMAC(key, id)...))
}

// OpenAppeal is the decision that a token names. Errors: ErrBadToken.
func OpenAppeal(key [32]byte, token string) (ID, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != 32 {
		return ID{}, ErrBadToken
	}
	id := ID(b[:16])
	if !hmac.Equal(b[16:], appealMAC(key, id)) {
		return ID{}, ErrBadToken
	}
	return id, nil
}

func appealMAC(key [32]byte, id ID) []byte {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte("appeal"))
	mac.Write(id[:])
	return mac.Sum(nil)[:16]
}
