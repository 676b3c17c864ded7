package replay

import (
	"strings"

	"sluice/internal/spell"
)

// kind is how a path's value is read from a cell and written into the event.
type kind uint8

const (
	kindText    kind = iota // a string, as it is
	kindTime                // a number or a date, by the map's time rule; written as RFC 3339
	kindMoney               // a decimal number, written without superfluous zeros
	kindInteger             // a whole number
	kindBool                // true, false, 1, 0
	kindJSON                // a JSON array, as a JSON lines file has it
)

// path is one place in the event that a map can fill.
type path struct {
	name  string // as maps have it: "order.value"
	group string // object that it stands in: "order", empty at the top
	field string // its member name: "value"
	kind  kind
}

// groups opens and closes the objects of the event. "items.x" means the row's one item.
var groups = map[string]struct{ open, shut string }{
	"items":        {`"items":[{`, `}]`},
	"order":        {`"order":{`, `}`},
	"counterparty": {`"counterparty":{`, `}`},
	"device":       {`"device":{`, `}`},
	"network":      {`"network":{`, `}`},
	"account":      {`"account":{`, `}`},
	"consent":      {`"consent":{`, `}`},
}

// paths lists every place of the event (CONTRACTS §1) in the order in which events are written. The order is part of every derived id: never change it.
var paths = makePaths(
	"id", "type", "time:time", "sent_at:time", "user_id", "anonymous_id", "session_id", "channel", "surface", "recommendation_id", "locale",
	"jurisdiction", "search_term", "items:json",
	"items.item_id", "items.index:integer", "items.quantity:integer", "items.price:money",
	"order.order_id", "order.value:money", "order.currency", "order.payment_instrument", "order.billing_country", "order.shipping_country", "order.shipping_address",
	"counterparty.id", "counterparty.kind",
	"device.id", "device.mac", "device.imei", "device.imsi", "device.idfa", "device.android_id", "device.oaid", "device.model", "device.os",
	"device.app_version", "device.user_agent", "device.apps:json",
	"network.ip", "network.carrier", "network.wifi", "network.cell",
	"account.email", "account.phone", "account.signup_time:time", "account.status", "account.failure_reason",
	"consent.revision", "consent.gpc:bool", "consent.denied:json",
)

func makePaths(specs ...string) []path {
	kinds := map[string]kind{"": kindText, "time": kindTime, "money": kindMoney, "integer": kindInteger, "bool": kindBool, "json": kindJSON}
	all := make([]path, len(specs))
	for i, spec := range specs {
		name, k, _ := strings.Cut(spec, ":")
		p := path{name: name, field: name, kind: kinds[k]}
		if group, field, ok := strings.Cut(name, "."); ok {
			p.group, p.field = group, field
		}
		all[i] = p
	}
	return all
}

// findPath is the index of a path by its name, or -1.
func findPath(name string) int {
	for i := range paths {
		if paths[i].name == name {
			return i
		}
	}
	return -1
}

// nearestPath is the path that a misspelt name most likely means, empty where none is near.
func nearestPath(name string) string {
	best, least := "", 4
	for i := range paths {
		if d := spell.Distance(name, paths[i].name); d < least {
			best, least = paths[i].name, d
		}
	}
	return best
}

// pointer is the RFC 6901 pointer to the path in the event.
func (p *path) pointer() string {
	switch p.group {
	case "":
		return "/" + p.field
	case "items":
		return "/items/0/" + p.field
	default:
		return "/" + p.group + "/" + p.field
	}
}
