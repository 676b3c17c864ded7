package ingest

import (
	"strconv"
	"unsafe"

	"sluice/internal/canonical"
	"sluice/internal/field"
	"sluice/internal/vocab"
)

// MaxEvent is the size of an event as JSON, in bytes.
const MaxEvent = 32 << 10

const (
	maxIdentifier = 256   // bytes of whatever names something: it becomes part of keys
	maxTerm       = 1_024 // bytes of a search term
)

// Codes of faults. They are stable. Beside them, a word that is none of a field's is unknown_ and the field's name: unknown_type, unknown_channel, unknown_kind.
const (
	CodeBrokenJSON      = "broken_json"
	CodeInvalidUTF8     = "invalid_utf8"
	CodeDuplicateName   = "duplicate_name"
	CodeInvalidType     = "invalid_type" // another JSON type expected
	CodeInvalidValue    = "invalid_value"
	CodeMissingField    = "missing_field"
	CodeTooLong         = "too_long"
	CodeTooLarge        = "too_large"
	CodePlaceholder     = "placeholder" // null, undefined and the like where something must be named; as a warning: it was set aside
	CodeImplausibleTime = "implausible_time"
	CodeExpired         = "expired" // no purpose would keep it any more
)

// Codes of warnings. They are stable.
const (
	WarnUnknownField   = "unknown_field"
	WarnOrderNotTaken  = "order_not_taken"
	WarnClockCorrected = "clock_corrected"
	WarnNationalPhone  = "national_phone"
	WarnConsentUnclear = "consent_unclear"       // what it may have denied is denied
	WarnRevision       = "revision_not_verified" // read as if none was named
)

// What was expected. A detail is always one of these: it cannot hold a value.
const (
	detailJSON       = "must be valid JSON"
	detailEvent      = "must be one event as a JSON object"
	detailEventSize  = "must be at most 32 KiB"
	detailUTF8       = "must be UTF-8"
	detailDuplicate  = "each name must stand once in its object"
	detailString     = "must be a string"
	detailStrings    = "must be an array of strings"
	detailObject     = "must be an object"
	detailItems      = "must be an array of items, each with an item_id"
	detailBool       = "must be true or false"
	detailTime       = "must be an RFC 3339 time from 1970 on"
	detailMoney      = "must be a decimal number, as a string or a number"
	detailCount      = "must be a whole number between 0 and 4294967295"
	detailDecimal    = "must be a decimal number from 0, as a string or a number"
	detailIdentifier = "must be an identifier of 1 to 256 bytes"
	detailShort      = "must be at most 256 bytes"
	detailControl    = "must not have control characters"
	detailTerm       = "must be a search term of 1 to 1024 bytes"
	detailSubject    = "there must be a user_id or an anonymous_id"
	detailCurrency   = "must be a currency of three letters (ISO 4217)"
	detailWord       = "must be a purpose of the register; all that it may have meant is denied"
	detailUnclear    = "must be {revision, gpc, denied}, once; it could not be read as a whole, so all that it may have denied is denied"
	detailValue      = "must be the value of the payment"
	detailRevision   = "must be the revision that an answer of the settings of this very user_id, or else anonymous_id, gave; the event was read as if it named none"
)

// TakesItems tells whether events of the type must have items.
func TakesItems(t vocab.Type) bool {
	switch t {
	case vocab.Type_VIEW_ITEM_LIST, vocab.Type_VIEW_ITEM, vocab.Type_SELECT_ITEM, vocab.Type_ADD_TO_CART, vocab.Type_REMOVE_FROM_CART,
		vocab.Type_ADD_TO_WISHLIST, vocab.Type_BEGIN_CHECKOUT, vocab.Type_PURCHASE:
		return true
	default:
		return false
	}
}

// TakesOrder tells whether events of the type may have an order.
func TakesOrder(t vocab.Type) bool {
	return needsOrder(t) || t == vocab.Type_BEGIN_CHECKOUT || t == vocab.Type_AFTER_SALES
}

// needsOrder tells whether events of the type must name an order.
func needsOrder(t vocab.Type) bool {
	switch t {
	case vocab.Type_PURCHASE, vocab.Type_REFUND, vocab.Type_PAYMENT, vocab.Type_CHARGEBACK:
		return true
	default:
		return false
	}
}

// Validate checks what Decode also checks of an event that was read: required fields and limits. It returns the first fault, or nil.
func Validate(ev *Event) *Fault {
	for _, check := range eventChecks {
		if fault := check(ev); fault != nil {
			return fault
		}
	}
	return nil
}

// eventChecks are compiled from the fields' definition, in its order. For each field, what depends on the event's type is checked before the field's own limits.
var eventChecks = checksOf(Fields, map[string]func(ev *Event) *Fault{
	"user_id": needSubject, "items": needItems, "search_term": needTerm, "order": needOrder,
})

func checksOf(m *field.Message, needs map[string]func(ev *Event) *Fault) []func(ev *Event) *Fault {
	var all []func(ev *Event) *Fault
	for _, f := range m.Fields {
		if need := needs[f.Name]; need != nil {
			all = append(all, need)
		}
		switch f.Kind {
		case field.One:
			if limits := limitsOf(f.Message, "/"+f.Name+"/"); len(limits) > 0 {
				all = append(all, func(ev *Event) *Fault { return within(*field.At[unsafe.Pointer](f, unsafe.Pointer(ev)), limits) })
			}
		case field.Many:
			all = append(all, linesCheck(f))
		default:
			if limit := limitOf(f, "/"+f.Name); limit != nil {
				all = append(all, func(ev *Event) *Fault { return limit(unsafe.Pointer(ev)) })
			}
		}
	}
	return all
}

// linesCheck checks a list of messages. Its pointers name the line.
func linesCheck(f *field.Field) func(ev *Event) *Fault {
	limits := limitsOf(f.Message, "/")
	return func(ev *Event) *Fault {
		for i, line := range *field.At[[]unsafe.Pointer](f, unsafe.Pointer(ev)) {
			if fault := within(line, limits); fault != nil {
				return &Fault{Code: fault.Code, Pointer: "/" + f.Name + "/" + strconv.Itoa(i) + fault.Pointer, Detail: fault.Detail}
			}
		}
		return nil
	}
}

// limit checks one field of a message.
type limit func(of unsafe.Pointer) *Fault

// within checks a message, nil where there is none.
func within(message unsafe.Pointer, limits []limit) *Fault {
	if message == nil {
		return nil
	}
	for _, l := range limits {
		if fault := l(message); fault != nil {
			return fault
		}
	}
	return nil
}

func limitsOf(m *field.Message, prefix string) []limit {
	var all []limit
	for _, f := range m.Fields {
		if l := limitOf(f, prefix+f.Name); l != nil {
			all = append(all, l)
		}
	}
	return all
}

// limitOf is the check of a field, nil for one without a limit.
func limitOf(f *field.Field, pointer string) limit {
	if f.Kind == field.Enum && f.Required {
		missing := &Fault{Code: CodeMissingField, Pointer: pointer, Detail: detailOf(f)}
		return func(of unsafe.Pointer) *Fault {
			if *field.At[int32](f, of) == 0 {
				return missing
			}
			return nil
		}
	}
	check := textChecks[f.Limit]
	switch {
	case check == nil:
		return nil
	case f.Limit == field.Limit_IDENTIFIER && !f.Required:
		return func(of unsafe.Pointer) *Fault {
			if s := *field.At[string](f, of); s != "" {
				return identifier(pointer, s)
			}
			return nil
		}
	}
	return func(of unsafe.Pointer) *Fault { return check(pointer, *field.At[string](f, of)) }
}

// Longest is how many bytes a field's text may have; 0: as many as the event.
func Longest(f *field.Field) int {
	switch f.Limit {
	case field.Limit_SHORT, field.Limit_IDENTIFIER:
		return maxIdentifier
	case field.Limit_TERM:
		return maxTerm
	default:
		return 0
	}
}

var textChecks = map[field.Limit]func(pointer, s string) *Fault{
	field.Limit_SHORT: short, field.Limit_IDENTIFIER: identifier, field.Limit_TERM: term, field.Limit_CURRENCY: currency,
}

func short(pointer, s string) *Fault {
	if len(s) > maxIdentifier {
		return &Fault{CodeTooLong, pointer, detailShort}
	}
	return nil
}

// identifier checks what must be there and becomes part of a key.
func identifier(pointer, s string) *Fault {
	switch {
	case s == "":
		return &Fault{CodeMissingField, pointer, detailIdentifier}
	case len(s) > maxIdentifier:
		return &Fault{CodeTooLong, pointer, detailIdentifier}
	case hasControl(s):
		return &Fault{CodeInvalidValue, pointer, detailControl}
	}
	return nil
}

func term(pointer, s string) *Fault {
	if len(s) > maxTerm {
		return &Fault{CodeTooLong, pointer, detailTerm}
	}
	return nil
}

func currency(pointer, s string) *Fault {
	if _, ok := canonical.Currency(s); s != "" && !ok {
		return &Fault{CodeInvalidValue, pointer, detailCurrency}
	}
	return nil
}

func needSubject(ev *Event) *Fault {
	if ev.UserId == "" && ev.AnonymousId == "" {
		return &Fault{CodeMissingField, "/user_id", detailSubject}
	}
	return nil
}

func needItems(ev *Event) *Fault {
	if len(ev.Items) == 0 && TakesItems(ev.Type) {
		return &Fault{CodeMissingField, "/items", detailItems}
	}
	return nil
}

func needTerm(ev *Event) *Fault {
	if ev.SearchTerm == "" && ev.Type == vocab.Type_SEARCH {
		return &Fault{CodeMissingField, "/search_term", detailTerm}
	}
	return nil
}

func needOrder(ev *Event) *Fault {
	o := ev.GetOrder()
	switch payment := ev.Type == vocab.Type_PAYMENT; {
	case needsOrder(ev.Type) && o.GetOrderId() == "":
		return &Fault{CodeMissingField, "/order/order_id", detailIdentifier}
	case payment && !o.GetHasValue():
		return &Fault{CodeMissingField, "/order/value", detailValue}
	case payment && o.GetCurrency() == "":
		return &Fault{CodeMissingField, "/order/currency", detailCurrency}
	}
	return nil
}
