package ingest

import (
	"cmp"
	"slices"
	"strings"
	"unsafe"

	"sluice/internal/catalog"
)

// MaxItem is the size of a catalogue item as JSON, in bytes.
const MaxItem = 64 << 10

const (
	detailItem         = "must be one item as a JSON object"
	detailItemSize     = "must be at most 64 KiB"
	detailPrice        = "must be a price from 0"
	detailCategories   = "must be an array of category paths, each an array of names from the broadest to the narrowest"
	detailCategory     = "must be a category name of 1 to 256 bytes"
	detailAvailability = "must be in_stock, out_of_stock, preorder or discontinued"
	detailURL          = "must be a path that begins with /, or an http or https URL"
	detailAttribute    = "must be a string, a number, true or false"
	detailAttributes   = "must be an object of strings"
)

var availabilities = []string{"in_stock", "out_of_stock", "preorder", "discontinued"}

// DecodeItem reads one catalogue item as strictly as Decode reads an event. Price is micros, available_from Unix microseconds; updated_at is left to the caller.
// Numbers and booleans among the attributes become text. With a fault, the item holds what could be read, or is nil where data is no object. data is not kept.
func DecodeItem(data []byte) (item *catalog.Item, warnings []Warning, fault *Fault) {
	d := newDecoder(string(data))
	defer d.free()
	if d.next() != '{' {
		return nil, nil, d.notObject(detailItem, true)
	}
	item = new(catalog.Item)
	d.document(itemMembers, unsafe.Pointer(item))
	switch {
	case len(data) > MaxItem:
		d.fault = &Fault{Code: CodeTooLarge, Detail: detailItemSize}
	case d.fault == nil:
		d.fault = validateItem(item)
	}
	return item, d.warnings, d.fault
}

// itemMembers are read by hand: an item is what a shop offers, no event of a person.
var itemMembers = []member{
	itemMember("item_id", func(d *decoder, item *catalog.Item) bool { return d.text(&item.ItemId) }),
	itemMember("title", func(d *decoder, item *catalog.Item) bool { return d.text(&item.Title) }),
	itemMember("categories", func(d *decoder, item *catalog.Item) bool { return d.categories(item) }),
	itemMember("brand", func(d *decoder, item *catalog.Item) bool { return d.text(&item.Brand) }),
	itemMember("seller", func(d *decoder, item *catalog.Item) bool { return d.text(&item.Seller) }),
	itemMember("price", func(d *decoder, item *catalog.Item) bool { return d.money(&item.Price) }),
	itemMember("currency", func(d *decoder, item *catalog.Item) bool { return d.text(&item.Currency) }),
	itemMember("availability", func(d *decoder, item *catalog.Item) bool { return d.text(&item.Availability) }),
	itemMember("url", func(d *decoder, item *catalog.Item) bool { return d.text(&item.Url) }),
	itemMember("image_url", func(d *decoder, item *catalog.Item) bool { return d.text(&item.ImageUrl) }),
	itemMember("available_from", func(d *decoder, item *catalog.Item) bool { return d.time(&item.AvailableFrom) }),
	itemMember("attributes", func(d *decoder, item *catalog.Item) bool { return d.attributes(item) }),
}

func itemMember(name string, read func(d *decoder, item *catalog.Item) bool) member {
	return newMember(name, func(d *decoder, into unsafe.Pointer) bool { return read(d, (*catalog.Item)(into)) })
}

func (d *decoder) categories(item *catalog.Item) bool {
	if !d.opens('[', detailCategories) {
		return false
	}
	item.Categories = nil
	d.array(func(d *decoder) {
		if d.next() != '[' {
			d.wrongType(detailCategories)
			return
		}
		path := new(catalog.CategoryPath)
		d.strings(&path.Names)
		item.Categories = append(item.Categories, path)
	})
	return true
}

// attributes reads an object with names of the shop's own.
func (d *decoder) attributes(item *catalog.Item) bool {
	if !d.opens('{', detailAttributes) {
		return false
	}
	item.Attributes = make(map[string]string)
	d.at++ // the brace
	for more := d.next() != '}'; more && !d.broken; more = d.more('}') {
		name, ok := d.name()
		if !ok {
			return false
		}
		if _, twice := item.Attributes[name]; twice {
			d.fail(CodeDuplicateName, detailDuplicate)
		}
		item.Attributes[name] = d.scalar()
	}
	d.shut('}')
	return true
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

// validateItem returns the first fault, or nil.
func validateItem(item *catalog.Item) *Fault {
	return cmp.Or(
		identifier("/item_id", item.ItemId), short("/brand", item.Brand), short("/seller", item.Seller),
		demand(len(item.Title) <= maxTerm, CodeTooLong, "/title", "must be at most 1024 bytes"),
		demand(!slices.ContainsFunc(item.Categories, badPath), CodeInvalidValue, "/categories", detailCategory),
		demand(item.Price >= 0, CodeInvalidValue, "/price", detailPrice),
		currency("/currency", item.Currency),
		demand(item.Availability == "" || slices.Contains(availabilities, item.Availability), CodeInvalidValue, "/availability", detailAvailability),
		link("/url", item.Url), link("/image_url", item.ImageUrl),
	)
}

// demand is a fault unless what must hold does.
func demand(holds bool, code, pointer, detail string) *Fault {
	if holds {
		return nil
	}
	return &Fault{code, pointer, detail}
}

func badPath(path *catalog.CategoryPath) bool {
	return len(path.Names) == 0 || slices.ContainsFunc(path.Names, func(n string) bool { return n == "" || len(n) > maxIdentifier })
}

// link checks what pages will point to.
func link(pointer, s string) *Fault {
	ours := s == "" || strings.HasPrefix(s, "/") || strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")
	return demand(ours, CodeInvalidValue, pointer, detailURL)
}
