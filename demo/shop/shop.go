// Package shop is the demo shop: a catalogue, a past of real orders, and simulated shoppers who browse, and some who cheat, through the public API.
// Its data is made from UCI Online Retail (CC BY 4.0); see ATTRIBUTION.md.
package shop

import (
	"bufio"
	"bytes"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
)

//go:embed data/catalogue.tsv.zst
var catalogueFile []byte

//go:embed data/orders.tsv.zst
var ordersFile []byte

// Attribution is what pages that show the data must say.
const Attribution = "Catalogue and orders: Online Retail, Daqing Chen, UCI Machine Learning Repository, CC BY 4.0, changed."

// Item is a thing that the shop offers.
type Item struct {
	ID, Title, Category, Subcategory string
	Price                            string // decimal, GBP
}

// Order is one order of the past.
type Order struct {
	Customer int
	Time     time.Time
	Lines    []Line
}

// Line is an item of an order.
type Line struct {
	Item     int // index in Items
	Quantity int
}

// Items is the catalogue, the most ordered item first.
var Items = sync.OnceValues(func() ([]Item, error) {
	var items []Item
	err := eachRow(catalogueFile, 5, func(f []string) error {
		items = append(items, Item{ID: f[0], Title: f[1], Category: f[2], Subcategory: f[3], Price: f[4]})
		return nil
	})
	return items, err
})

// EachOrder gives the orders of the past, the newest first. An order is valid until the next one.
func EachOrder(use func(*Order) error) error {
	var o Order
	return eachRow(ordersFile, 3, func(f []string) error {
		if err := o.parse(f); err != nil {
			return err
		}
		return use(&o)
	})
}

// parse reads "customer, Unix seconds, item×quantity item×quantity …".
func (o *Order) parse(f []string) (err error) {
	if o.Customer, err = strconv.Atoi(f[0]); err != nil {
		return err
	}
	seconds, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil {
		return err
	}
	o.Time, o.Lines = time.Unix(seconds, 0).UTC(), o.Lines[:0]
	for field := range strings.FieldsSeq(f[2]) {
		item, quantity, _ := strings.Cut(field, "×")
		var l Line
		if l.Item, err = strconv.Atoi(item); err != nil {
			return err
		}
		if l.Quantity, err = strconv.Atoi(quantity); err != nil {
			return err
		}
		o.Lines = append(o.Lines, l)
	}
	return nil
}

// maxRow bounds a row of the files, in bytes.
const maxRow = 1 << 20

func eachRow(file []byte, columns int, use func(fields []string) error) error {
	r, err := zstd.NewReader(bytes.NewReader(file))
	if err != nil {
		return err
	}
	defer r.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxRow)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) != columns {
			return fmt.Errorf("demo shop data, row %d: must have %d columns, and has %d", n, columns, len(fields))
		}
		if err := use(fields); err != nil {
			return fmt.Errorf("demo shop data, row %d: %w", n, err)
		}
	}
	return lines.Err()
}
