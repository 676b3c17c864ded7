package ingest

import (
	"strconv"
	"sync"
	"unsafe"

	"sluice/internal/canonical"
	"sluice/internal/field"
)

const (
	detailPlaceholder = "must name one person or thing; a word that stands for none is refused"
	detailLeftOut     = "must name one thing; a word that stands for none was set aside"
	detailIP          = "must be one IP address; a list or a word names nobody, and was set aside"
	detailEmail       = "must be an e-mail address; it was set aside"
	detailPhone       = "must be a telephone number, best with its country's code (+44 …); it was set aside"
	detailNational    = "should begin with the country's code (+44 …): without it, other spellings of the number count as other numbers"
	detailCountry     = "must be an ISO 3166 code such as GB; it was set aside"
)

// Forms gives the identifiers of an event their canonical form, as the fields' definition says. Decode has made all texts NFC.
type Forms struct {
	Placeholders *canonical.Placeholders
}

// forming is an event that is given its forms.
type forming struct {
	*Forms
	ev       *Event
	warnings []Warning
	fault    *Fault
}

// Apply gives the event's identifiers their canonical form. An identifier without one is set aside, with a warning appended to warnings, or refuses the event.
func (f *Forms) Apply(ev *Event, warnings []Warning) ([]Warning, *Fault) {
	at := formings.Get().(*forming) //nolint:forcetypeassert // the pool's New makes nothing else
	*at = forming{Forms: f, ev: ev, warnings: warnings}
	for i := range formers {
		if formers[i](at); at.fault != nil {
			break
		}
	}
	warnings, fault := at.warnings, at.fault
	*at = forming{}
	formings.Put(at)
	return warnings, fault
}

var formings = sync.Pool{New: func() any { return new(forming) }}

// former forms what one field of an event holds.
type former func(at *forming)

// formers are compiled from the fields' definition, in its order.
var formers = formersOf(Fields)

func formersOf(m *field.Message) []former {
	var all []former
	for _, f := range m.Fields {
		switch f.Kind {
		case field.One:
			if texts := textFormers(f.Message, "/"+f.Name); len(texts) > 0 {
				all = append(all, func(at *forming) { at.message(*field.At[unsafe.Pointer](f, unsafe.Pointer(at.ev)), texts) })
			}
		case field.Many:
			if texts := textFormers(f.Message, ""); len(texts) > 0 {
				all = append(all, func(at *forming) { at.lines(f, texts) })
			}
		default:
			if text := textFormer(f, ""); text != nil {
				all = append(all, func(at *forming) { text(at, unsafe.Pointer(at.ev)) })
			}
		}
	}
	return all
}

// formText forms one field of a message.
type formText func(at *forming, of unsafe.Pointer)

func textFormers(m *field.Message, prefix string) []formText {
	var all []formText
	for _, f := range m.Fields {
		if text := textFormer(f, prefix); text != nil {
			all = append(all, text)
		}
	}
	return all
}

// textFormer is nil for a field without a form.
func textFormer(f *field.Field, prefix string) formText {
	read, pointer := readers[f.Canonical], prefix+"/"+f.Name
	if read == nil {
		return nil
	}
	return func(at *forming, of unsafe.Pointer) {
		if text := field.At[string](f, of); *text != "" {
			read(at, pointer, text)
		}
	}
}

func (at *forming) message(of unsafe.Pointer, texts []formText) {
	if of == nil {
		return
	}
	for _, text := range texts {
		text(at, of)
	}
}

// lines forms a list of messages. The pointer of a fault names the line.
func (at *forming) lines(f *field.Field, texts []formText) {
	for i, line := range *field.At[[]unsafe.Pointer](f, unsafe.Pointer(at.ev)) {
		at.message(line, texts)
		if at.fault != nil {
			at.fault.Pointer = "/" + f.Name + "/" + strconv.Itoa(i) + at.fault.Pointer
			return
		}
	}
}

// readers read a text that is not empty into its form.
var readers = map[field.Canonical]func(at *forming, pointer string, text *string){
	field.Canonical_NAME:          (*forming).name,
	field.Canonical_OPTIONAL_NAME: (*forming).optionalName,
	field.Canonical_IP:            func(at *forming, pointer string, text *string) { at.form(pointer, text, canonical.IP, detailIP) },
	field.Canonical_EMAIL:         func(at *forming, pointer string, text *string) { at.form(pointer, text, canonical.Email, detailEmail) },
	field.Canonical_COUNTRY: func(at *forming, pointer string, text *string) {
		at.form(pointer, text, canonical.Country, detailCountry)
	},
	field.Canonical_PHONE: (*forming).phone,
	field.Canonical_CODE:  (*forming).currency,
}

func (at *forming) name(pointer string, text *string) {
	if at.Placeholders.Has(*text) && at.fault == nil {
		at.fault = &Fault{CodePlaceholder, pointer, detailPlaceholder}
	}
}

func (at *forming) optionalName(pointer string, text *string) {
	if at.Placeholders.Has(*text) {
		*text = ""
		at.warn(CodePlaceholder, pointer, detailLeftOut)
	}
}

func (at *forming) form(pointer string, text *string, of func(string) (string, bool), detail string) {
	form, ok := of(*text)
	if !ok {
		at.warn(CodeInvalidValue, pointer, detail)
	}
	*text = form
}

func (at *forming) phone(pointer string, text *string) {
	form, complete, ok := canonical.Phone(*text, at.country())
	switch {
	case !ok:
		at.warn(CodeInvalidValue, pointer, detailPhone)
	case !complete:
		at.warn(WarnNationalPhone, pointer, detailNational)
	}
	*text = form
}

// country is where the event's person most likely has a telephone. The order's countries have their forms already: the order stands before the account in the
// definition.
func (at *forming) country() string {
	if o := at.ev.Order; o != nil {
		if o.BillingCountry != "" {
			return o.BillingCountry
		}
		if o.ShippingCountry != "" {
			return o.ShippingCountry
		}
	}
	return canonical.RegionOf(at.ev.Locale)
}

func (at *forming) currency(pointer string, text *string) {
	code, ok := canonical.Currency(*text)
	if !ok && at.fault == nil {
		at.fault = &Fault{CodeInvalidValue, pointer, detailCurrency}
	}
	*text = code
}

func (at *forming) warn(code, pointer, detail string) {
	if len(at.warnings) < maxWarnings {
		at.warnings = append(at.warnings, Warning{code, pointer, detail})
	}
}
