package ingest

import (
	"strconv"
	"strings"

	"sluice/internal/vocab"
)

// MaxEvent is the size of an event as JSON, in bytes.
const MaxEvent = 32 << 10

const (
	maxIdentifier = 256   // bytes of whatever names something: it becomes part of keys
	maxTerm       = 1_024 // bytes of a search term
)

// Codes of faults. They are stable.
const (
	CodeBrokenJSON     = "broken_json"
	CodeInvalidUTF8    = "invalid_utf8"
	CodeDuplicateName  = "duplicate_name"
	CodeInvalidType    = "invalid_type" // another JSON type expected
	CodeInvalidValue   = "invalid_value"
	CodeMissingField   = "missing_field"
	CodeTooLong        = "too_long"
	CodeTooLarge       = "too_large"
	CodeUnknownType    = "unknown_type"
	CodeUnknownChannel = "unknown_channel"
	CodeUnknownKind    = "unknown_kind"
)

// Codes of warnings. They are stable.
const (
	WarnUnknownField  = "unknown_field"
	WarnOrderNotTaken = "order_not_taken"
)

// What was expected. A detail is always one of these: it cannot hold a value.
const (
	detailJSON       = "valid JSON expected"
	detailEvent      = "one event as a JSON object expected"
	detailEventSize  = "an event of at most 32 KiB expected"
	detailUTF8       = "UTF-8 expected"
	detailDuplicate  = "each name at most once in an object expected"
	detailString     = "a string expected"
	detailStrings    = "an array of strings expected"
	detailObject     = "an object expected"
	detailItems      = "an array of items expected, each with an item_id"
	detailBool       = "true or false expected"
	detailTime       = "an RFC 3339 time from 1970 on expected"
	detailMoney      = "a decimal number as a string or a number expected"
	detailCount      = "a whole number from 0 to 4294967295 expected"
	detailChannel    = "web, app, applet or server expected"
	detailKind       = "seller, terminal or payee expected"
	detailIdentifier = "an identifier of 1 to 256 bytes expected"
	detailShort      = "at most 256 bytes expected"
	detailControl    = "no control characters expected"
	detailTerm       = "a search term of 1 to 1024 bytes expected"
	detailSubject    = "a user_id or an anonymous_id expected"
	detailCurrency   = "a currency of three capital letters (ISO 4217) expected"
	detailValue      = "the value of the payment expected"
)

var detailType = "one of " + strings.Join(vocab.Types(), ", ") + " expected"

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

// Validate checks what Decode also checks of an event that was read: required fields and lengths. It returns the first fault, or nil.
func Validate(ev *Event) *Fault {
	var c check
	c.identifier("/id", ev.Id)
	if ev.Type.Name() == "" {
		c.fail(CodeMissingField, "/type", detailType)
	}
	c.subject(ev)
	c.short("/session_id", ev.SessionId)
	c.short("/surface", ev.Surface)
	c.short("/recommendation_id", ev.RecommendationId)
	c.short("/locale", ev.Locale)
	c.short("/jurisdiction", ev.Jurisdiction)
	c.items(ev)
	c.search(ev)
	c.order(ev)
	c.parties(ev)
	return c.fault
}

// check keeps the first fault.
type check struct{ fault *Fault }

func (c *check) fail(code, pointer, detail string) {
	if c.fault == nil {
		c.fault = &Fault{Code: code, Pointer: pointer, Detail: detail}
	}
}

func (c *check) short(pointer, s string) {
	if len(s) > maxIdentifier {
		c.fail(CodeTooLong, pointer, detailShort)
	}
}

// identifier checks what must be there and becomes part of a key.
func (c *check) identifier(pointer, s string) {
	switch {
	case s == "":
		c.fail(CodeMissingField, pointer, detailIdentifier)
	case len(s) > maxIdentifier:
		c.fail(CodeTooLong, pointer, detailIdentifier)
	case hasControl(s):
		c.fail(CodeInvalidValue, pointer, detailControl)
	}
}

func (c *check) subject(ev *Event) {
	if ev.UserId != "" {
		c.identifier("/user_id", ev.UserId)
	}
	if ev.AnonymousId != "" {
		c.identifier("/anonymous_id", ev.AnonymousId)
	}
	if Subject(ev) == "" {
		c.fail(CodeMissingField, "/user_id", detailSubject)
	}
}

func (c *check) items(ev *Event) {
	if len(ev.Items) == 0 && TakesItems(ev.Type) {
		c.fail(CodeMissingField, "/items", detailItems)
	}
	for i, item := range ev.Items {
		if item.ItemId == "" || len(item.ItemId) > maxIdentifier || hasControl(item.ItemId) {
			c.identifier("/items/"+strconv.Itoa(i)+"/item_id", item.ItemId)
		}
	}
}

func (c *check) search(ev *Event) {
	if ev.SearchTerm == "" && ev.Type == vocab.Type_SEARCH {
		c.fail(CodeMissingField, "/search_term", detailTerm)
	}
	if len(ev.SearchTerm) > maxTerm {
		c.fail(CodeTooLong, "/search_term", detailTerm)
	}
}

func (c *check) order(ev *Event) {
	o := ev.GetOrder()
	if needsOrder(ev.Type) && o.GetOrderId() == "" {
		c.fail(CodeMissingField, "/order/order_id", detailIdentifier)
	}
	if ev.Type == vocab.Type_PAYMENT && !o.GetHasValue() {
		c.fail(CodeMissingField, "/order/value", detailValue)
	}
	if ev.Type == vocab.Type_PAYMENT && o.GetCurrency() == "" {
		c.fail(CodeMissingField, "/order/currency", detailCurrency)
	}
	if o == nil || !TakesOrder(ev.Type) {
		return // Decode sets such an order aside
	}
	c.short("/order/order_id", o.OrderId)
	c.short("/order/payment_instrument", o.PaymentInstrument)
	if o.Currency != "" && !isCurrency(o.Currency) {
		c.fail(CodeInvalidValue, "/order/currency", detailCurrency)
	}
}

// parties checks the identifiers of who is paid and of what the event came through.
func (c *check) parties(ev *Event) {
	if p := ev.Counterparty; p != nil {
		c.short("/counterparty/id", p.Id)
	}
	if d := ev.Device; d != nil {
		c.short("/device/id", d.Id)
		c.short("/device/mac", d.Mac)
		c.short("/device/imei", d.Imei)
		c.short("/device/imsi", d.Imsi)
		c.short("/device/idfa", d.Idfa)
		c.short("/device/android_id", d.AndroidId)
		c.short("/device/oaid", d.Oaid)
	}
	if n := ev.Network; n != nil {
		c.short("/network/ip", n.Ip)
	}
}
