package ingest

import (
	"slices"
	"strings"

	"sluice/internal/catalog"
)

// MaxItem is the size of a catalogue item as JSON, in bytes.
const MaxItem = 64 << 10

const (
	detailItem         = "one item as a JSON object expected"
	detailItemSize     = "an item of at most 64 KiB expected"
	detailPrice        = "a price from 0 expected"
	detailCategories   = "an array of category paths expected, each an array of names from the broadest to the narrowest"
	detailCategory     = "a category name of 1 to 256 bytes expected"
	detailAvailability = "in_stock, out_of_stock, preorder or discontinued expected"
	detailURL          = "a path that begins with / or an http or https URL expected"
	detailAttribute    = "a string, a number, true or false expected"
	detailAttributes   = "an object of strings expected"
)

var availabilities = []string{"in_stock", "out_of_stock", "preorder", "discontinued"}

// DecodeItem reads one catalogue item as strictly as Decode reads an event. Price is micros, available_from Unix microseconds; updated_at is left to the caller.
// Numbers and booleans among the attributes become text. With a fault, the item holds what could be read, or is nil where data is no object. data is not kept.
func DecodeItem(data []byte) (item *catalog.Item, warnings []Warning, fault *Fault) {
	d := newDecoder(data)
	defer d.free()
	if d.next() != '{' {
		return nil, nil, d.notObject(detailItem)
	}
	item = new(catalog.Item)
	d.item = item
	d.document(itemMembers)
	switch {
	case len(data) > MaxItem:
		d.fault = &Fault{Code: CodeTooLarge, Detail: detailItemSize}
	case d.fault == nil:
		d.fault = validateItem(item)
	}
	return item, d.warnings, d.fault
}

var itemMembers = []member{
	{"item_id", func(d *decoder) { d.text(&d.item.ItemId) }},
	{"title", func(d *decoder) { d.text(&d.item.Title) }},
	{"categories", func(d *decoder) { d.categories() }},
	{"brand", func(d *decoder) { d.text(&d.item.Brand) }},
	{"seller", func(d *decoder) { d.text(&d.item.Seller) }},
	{"price", func(d *decoder) { d.money(&d.item.Price) }},
	{"currency", func(d *decoder) { d.text(&d.item.Currency) }},
	{"availability", func(d *decoder) { d.text(&d.item.Availability) }},
	{"url", func(d *decoder) { d.text(&d.item.Url) }},
	{"image_url", func(d *decoder) { d.text(&d.item.ImageUrl) }},
	{"available_from", func(d *decoder) { d.time(&d.item.AvailableFrom) }},
	{"attributes", func(d *decoder) { d.attributes() }},
}

func (d *decoder) categories() {
	if !d.opens('[', detailCategories) {
		return
	}
	d.item.Categories = nil
	d.array(func(d *decoder) {
		if d.next() != '[' {
			d.wrongType(detailCategories)
			return
		}
		path := new(catalog.CategoryPath)
		d.strings(&path.Names)
		d.item.Categories = append(d.item.Categories, path)
	})
}

// attributes reads an object whose names are the shop's own.
func (d *decoder) attributes() {
	if !d.opens('{', detailAttributes) {
		return
	}
	d.item.Attributes = make(map[string]string)
	d.at++ // the brace
	for more := d.next() != '}'; more && !d.broken; more = d.more('}') {
		name, ok := d.name()
		if !ok {
			return
		}
		if _, twice := d.item.Attributes[name]; twice {
			d.fail(CodeDuplicateName, detailDuplicate)
		}
		d.item.Attributes[name] = d.scalar()
	}
	d.shut('}')
}

// scalar reads an attribute's value as text. A fault points to the attributes as a whole.
func (d *decoder) scalar() string {
	var s string
	switch c := d.next(); {
	case c == '"':
		d.text(&s)
	case c == 't' && d.word("true"):
		return "true"
	case c == 'f' && d.word("false"):
		return "false"
	case c == '-' || isDigit(c):
		d.numeral(&s, detailAttribute)
	default:
		d.wrongType(detailAttribute)
	}
	return s
}

func validateItem(item *catalog.Item) *Fault {
	var c check
	c.identifier("/item_id", item.ItemId)
	c.short("/brand", item.Brand)
	c.short("/seller", item.Seller)
	if len(item.Title) > maxTerm {
		c.fail(CodeTooLong, "/title", "at most 1024 bytes expected")
	}
	for _, path := range item.Categories {
		if len(path.Names) == 0 || slices.ContainsFunc(path.Names, func(n string) bool { return n == "" || len(n) > maxIdentifier }) {
			c.fail(CodeInvalidValue, "/categories", detailCategory)
		}
	}
	if item.Price < 0 {
		c.fail(CodeInvalidValue, "/price", detailPrice)
	}
	if item.Currency != "" && !isCurrency(item.Currency) {
		c.fail(CodeInvalidValue, "/currency", detailCurrency)
	}
	if item.Availability != "" && !slices.Contains(availabilities, item.Availability) {
		c.fail(CodeInvalidValue, "/availability", detailAvailability)
	}
	c.link("/url", item.Url)
	c.link("/image_url", item.ImageUrl)
	return c.fault
}

// link checks what pages will point to.
func (c *check) link(pointer, s string) {
	if s != "" && !strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "https://") && !strings.HasPrefix(s, "http://") {
		c.fail(CodeInvalidValue, pointer, detailURL)
	}
}
