package collector

import (
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sluice/ingest"
	"sluice/internal/field"
	"sluice/internal/httpx"
)

// The types of this file are the documentation of what is posted; package ingest decodes it.

// collectedEvent documents an event, from its fields' definition.
type collectedEvent struct{}

// Schema is a reference to the event's schema.
func (collectedEvent) Schema(r huma.Registry) *huma.Schema {
	return described(r, "CollectedEvent", ingest.Fields)
}

// collectedBatch documents a body of events.
type collectedBatch struct{}

// Schema is one event, an array of events, or an envelope around them.
func (collectedBatch) Schema(r huma.Registry) *huma.Schema {
	event := collectedEvent{}.Schema(r)
	events := &huma.Schema{Type: huma.TypeArray, Items: event, MinItems: new(1), MaxItems: new(maxEvents)}
	return &huma.Schema{OneOf: []*huma.Schema{event, events, {
		Type: huma.TypeObject, Required: []string{"events"}, Properties: map[string]*huma.Schema{
			"sent_at": {Type: huma.TypeString, Format: "date-time", Description: "The client's clock at sending, of every event that has none of its own."}, "events": events,
		},
	}}}
}

// eventsBody describes the body of POST /v1/events: lines hold an event each.
func eventsBody(api *httpx.API) *huma.RequestBody {
	body := api.Body(reflect.TypeFor[collectedBatch](), eventExample, typeJSON, typeText)
	body.Content[typeNDJSON] = api.Body(reflect.TypeFor[collectedEvent](), eventExample, typeNDJSON).Content[typeNDJSON]
	return body
}

// described makes the schema of a message, and of those within, under a name of its own.
func described(r huma.Registry, name string, m *field.Message) *huma.Schema {
	ref := &huma.Schema{Ref: "#/components/schemas/" + name}
	if r.Map()[name] != nil {
		return ref
	}
	s := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false, Properties: make(map[string]*huma.Schema)}
	for _, f := range m.Fields {
		property := schemaOf(r, f)
		if f.Doc != "" {
			property.Description = f.Doc
		}
		if s.Properties[f.Name] = property; f.Required {
			s.Required = append(s.Required, f.Name)
		}
	}
	r.Map()[name] = s
	return ref
}

// schemaOf is the schema of a field's values.
func schemaOf(r huma.Registry, f *field.Field) *huma.Schema {
	switch f.Kind {
	case field.One:
		return described(r, "Event"+f.Message.Name, f.Message)
	case field.Many:
		return &huma.Schema{Type: huma.TypeArray, Nullable: true, Items: described(r, "Event"+f.Message.Name, f.Message)}
	case field.Texts:
		return &huma.Schema{Type: huma.TypeArray, Nullable: true, Items: &huma.Schema{Type: huma.TypeString}}
	case field.Bool:
		return &huma.Schema{Type: huma.TypeBoolean}
	case field.Count:
		return &huma.Schema{Type: huma.TypeInteger, Format: "int32", Minimum: new(0.0)}
	case field.Int:
		if f.Form == field.Form_MONEY || f.Form == field.Form_DECIMAL {
			return money{}.Schema(r)
		}
		return &huma.Schema{Type: huma.TypeString, Format: "date-time"}
	}
	s := &huma.Schema{Type: huma.TypeString}
	for _, word := range f.Values {
		if word != "" {
			s.Enum = append(s.Enum, word)
		}
	}
	if f.Limit == field.Limit_CURRENCY {
		s.Pattern = "^([A-Z]{3}|[a-z]{3})$"
	} else if most := ingest.Longest(f); most > 0 {
		s.MaxLength = &most
	}
	if f.Limit == field.Limit_IDENTIFIER && f.Required {
		s.MinLength = new(1)
	}
	return s
}

// catalogueItem documents a catalogue item.
type catalogueItem struct {
	ItemID        string            `json:"item_id" minLength:"1" maxLength:"256"`
	Title         string            `json:"title,omitempty" maxLength:"1024"`
	Categories    [][]string        `json:"categories,omitempty" doc:"Paths from the broadest to the narrowest."`
	Brand         string            `json:"brand,omitempty" maxLength:"256"`
	Seller        string            `json:"seller,omitempty" maxLength:"256"`
	Price         money             `json:"price,omitempty"`
	Currency      string            `json:"currency,omitempty" pattern:"^[A-Z]{3}$" doc:"ISO 4217."`
	Availability  string            `json:"availability,omitempty" enum:"in_stock,out_of_stock,preorder,discontinued" default:"in_stock"`
	URL           string            `json:"url,omitempty" doc:"A path, or http(s)."`
	ImageURL      string            `json:"image_url,omitempty" doc:"A path, or http(s)."`
	AvailableFrom time.Time         `json:"available_from,omitempty"`
	Attributes    map[string]string `json:"attributes,omitempty" doc:"The shop's own; numbers and booleans become text."`
}

// replayedRow documents a row of a replay.
type replayedRow struct {
	Row   uint64         `json:"row" minimum:"1" doc:"Number in the run."`
	Event collectedEvent `json:"event"`
}

// money documents an amount.
type money struct{}

// Schema says that an amount is a decimal, as a string or a number.
func (money) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		OneOf: []*huma.Schema{{Type: huma.TypeString, Pattern: `^-?(0|[1-9][0-9]*)(\.[0-9]+)?$`}, {Type: huma.TypeNumber}}, Description: "A decimal, rounded to 6 decimals.",
	}
}

var (
	eventExample = map[string]any{
		"id": "01JABCDEF", "type": "view_item", "time": "2026-03-01T10:00:00.123Z", "sent_at": "2026-03-01T10:00:01Z", "anonymous_id": "v-9f8e", "session_id": "s-1",
		"channel": "web", "surface": "product_page", "items": []map[string]any{{"item_id": "lamp-1", "index": 0, "quantity": 1, "price": "19.99"}},
	}
	itemExample = map[string]any{
		"item_id": "lamp-1", "title": "Desk lamp", "categories": [][]string{{"Home", "Lamps"}}, "price": "19.99", "currency": "EUR", "availability": "in_stock",
		"url": "/items/lamp-1", "available_from": "2026-01-01T00:00:00Z", "attributes": map[string]string{"colour": "red"},
	}
)
