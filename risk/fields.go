package risk

import (
	"math"
	"strings"
	"unsafe"

	definition "sluice/internal/field"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
	"sluice/privacyfilter/purposepb"
)

// kind is the type of a value that a rule may read.
type kind uint8

const (
	numberKind kind = iota
	textKind
	flagKind
)

func (k kind) String() string {
	return [...]string{"a number", "a text", "true or false"}[k]
}

// value is one value of an event or of its features. Only the member of its kind is meaningful.
type value struct {
	number float64
	text   string
	flag   bool
}

// field is a value that the event itself carries. What is read may be missing; a flag never is.
type field struct {
	name string
	kind kind
	read func(ev *purposepb.RiskEvent) (v value, ok bool)
}

const microsPerDay = 24 * 60 * 60 * 1e6

// fields are the event's own values that a rule may read, beside the features. Identifiers are not among them: whether there is one is.
var fields = append(textFields(), []field{
	{name: "order.value", kind: numberKind, read: func(ev *purposepb.RiskEvent) (value, bool) {
		return value{number: float64(ev.Value) / 1e6}, ev.HasValue
	}},
	flagField("order.has_instrument", func(ev *purposepb.RiskEvent) []byte { return ev.Instrument }),
	flagField("order.has_shipping_address", func(ev *purposepb.RiskEvent) []byte { return ev.ShippingAddress }),
	flagField("counterparty.has_id", func(ev *purposepb.RiskEvent) []byte { return ev.Counterparty }),
	{name: "account.age_days", kind: numberKind, read: accountAge},
	flagField("account.has_email", func(ev *purposepb.RiskEvent) []byte { return ev.Email }),
	flagField("account.has_phone", func(ev *purposepb.RiskEvent) []byte { return ev.Phone }),
	flagField("device.has_id", func(ev *purposepb.RiskEvent) []byte { return ev.Device }),
	flagField("network.has_ip", func(ev *purposepb.RiskEvent) []byte { return ev.Ip }),
}...)

// textFields are the texts and words of fraud control's type, under the names that the event's fields have; an empty one is missing.
func textFields() []field {
	var texts []field
	for _, f := range privacyfilter.Type(privacyfilter.Risk).Fields {
		read := textReader(f)
		if read == nil {
			continue
		}
		name := f.From[0]
		if f.Part == definition.Part_DOMAIN {
			group, _, _ := strings.Cut(name, ".")
			name = group + "." + f.Name
		}
		texts = append(texts, field{name: name, kind: textKind, read: func(ev *purposepb.RiskEvent) (value, bool) {
			text := read(unsafe.Pointer(ev))
			return value{text: text}, text != ""
		}})
	}
	return texts
}

// textReader reads a field, nil where it is neither a text nor a word.
func textReader(f *definition.Field) func(event unsafe.Pointer) string {
	switch f.Kind {
	case definition.Text:
		return func(event unsafe.Pointer) string { return *definition.At[string](f, event) }
	case definition.Enum:
		return func(event unsafe.Pointer) string { return f.Word(*definition.At[int32](f, event)) }
	default:
		return nil
	}
}

// flagField tells whether the event names something.
func flagField(name string, read func(ev *purposepb.RiskEvent) []byte) field {
	return field{name: name, kind: flagKind, read: func(ev *purposepb.RiskEvent) (value, bool) {
		return value{flag: len(read(ev)) > 0}, true
	}}
}

// accountAge is the days from sign-up to the event; missing where the sign-up is not known, or said to be later than the event.
func accountAge(ev *purposepb.RiskEvent) (value, bool) {
	if ev.SignupTime == 0 || ev.SignupTime > ev.Time {
		return value{}, false
	}
	return value{number: float64(ev.Time-ev.SignupTime) / microsPerDay}, true
}

// decided tells whether events of the type get a decision.
func decided(t vocab.Type) bool {
	return t == vocab.Type_SIGN_UP || t == vocab.Type_LOGIN || t == vocab.Type_PAYMENT
}

// finite tells whether a number can be compared sensibly; one that cannot counts as missing.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
