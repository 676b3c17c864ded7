package collector

import (
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// The types of this file are the documentation of what is posted; package ingest decodes it.

// collectedEvent documents an event.
type collectedEvent struct {
	ID               string             `json:"id" minLength:"1" maxLength:"256" doc:"Made by the client. With the subject it tells a repetition."`
	Type             string             `json:"type" enum:"page_view,view_item_list,view_item,select_item,search,add_to_cart,remove_from_cart,add_to_wishlist,follow,share,begin_checkout,purchase,refund,after_sales,publish,sign_up,login,login_failed,password_change,verification,payment,chargeback,report"`
	Time             time.Time          `json:"time" doc:"The client's clock at capture."`
	SentAt           time.Time          `json:"sent_at,omitempty" doc:"The client's clock at sending; on the event, or once on the batch. With a server key it is the time of receipt by default."`
	UserID           string             `json:"user_id,omitempty" maxLength:"256" doc:"The account. user_id or anonymous_id is required."`
	AnonymousID      string             `json:"anonymous_id,omitempty" maxLength:"256" doc:"The device, before and beside an account."`
	SessionID        string             `json:"session_id,omitempty" maxLength:"256"`
	Channel          string             `json:"channel,omitempty" enum:"web,app,applet,server"`
	Surface          string             `json:"surface,omitempty" maxLength:"256"`
	RecommendationID string             `json:"recommendation_id,omitempty" maxLength:"256" doc:"Of the ranking that led here."`
	Locale           string             `json:"locale,omitempty" maxLength:"256"`
	Jurisdiction     string             `json:"jurisdiction,omitempty" maxLength:"256" doc:"Only narrows. Server key."`
	Items            []eventItem        `json:"items,omitempty" doc:"Required for view_item_list, view_item, select_item, add_to_cart, remove_from_cart, add_to_wishlist, begin_checkout and purchase."`
	SearchTerm       string             `json:"search_term,omitempty" maxLength:"1024" doc:"Required for search."`
	Order            *eventOrder        `json:"order,omitempty" doc:"Taken by begin_checkout, purchase, refund, after_sales, payment and chargeback. Server key."`
	Counterparty     *eventCounterparty `json:"counterparty,omitempty" doc:"Who is paid."`
	Device           *eventDevice       `json:"device,omitempty"`
	Network          *eventNetwork      `json:"network,omitempty"`
	Account          *eventAccount      `json:"account,omitempty" doc:"Server key."`
	Consent          *eventConsent      `json:"consent,omitempty"`
}

type eventItem struct {
	ItemID   string `json:"item_id" minLength:"1" maxLength:"256"`
	Index    uint32 `json:"index,omitempty" doc:"Position in the list, from 0."`
	Quantity uint32 `json:"quantity,omitempty"`
	Price    money  `json:"price,omitempty"`
}

type eventOrder struct {
	OrderID           string `json:"order_id,omitempty" maxLength:"256" doc:"Required for purchase, refund, payment and chargeback."`
	Value             money  `json:"value,omitempty" doc:"Required for payment."`
	Currency          string `json:"currency,omitempty" pattern:"^[A-Z]{3}$" doc:"ISO 4217. Required for payment."`
	PaymentInstrument string `json:"payment_instrument,omitempty" maxLength:"256" doc:"A token of the instrument, never its number."`
	BillingCountry    string `json:"billing_country,omitempty"`
	ShippingCountry   string `json:"shipping_country,omitempty"`
	ShippingAddress   string `json:"shipping_address,omitempty"`
}

type eventCounterparty struct {
	ID   string `json:"id,omitempty" maxLength:"256"`
	Kind string `json:"kind,omitempty" enum:"seller,terminal,payee"`
}

type eventDevice struct {
	ID         string   `json:"id,omitempty" maxLength:"256"`
	MAC        string   `json:"mac,omitempty" maxLength:"256"`
	IMEI       string   `json:"imei,omitempty" maxLength:"256"`
	IMSI       string   `json:"imsi,omitempty" maxLength:"256"`
	IDFA       string   `json:"idfa,omitempty" maxLength:"256"`
	AndroidID  string   `json:"android_id,omitempty" maxLength:"256"`
	OAID       string   `json:"oaid,omitempty" maxLength:"256"`
	Model      string   `json:"model,omitempty"`
	OS         string   `json:"os,omitempty"`
	AppVersion string   `json:"app_version,omitempty"`
	UserAgent  string   `json:"user_agent,omitempty"`
	Apps       []string `json:"apps,omitempty"`
}

type eventNetwork struct {
	IP      string `json:"ip,omitempty" maxLength:"256"`
	Carrier string `json:"carrier,omitempty"`
	WiFi    string `json:"wifi,omitempty"`
	Cell    string `json:"cell,omitempty"`
}

type eventAccount struct {
	Email         string    `json:"email,omitempty"`
	Phone         string    `json:"phone,omitempty"`
	SignupTime    time.Time `json:"signup_time,omitempty"`
	Status        string    `json:"status,omitempty"`
	FailureReason string    `json:"failure_reason,omitempty"`
}

type eventConsent struct {
	Revision string   `json:"revision,omitempty" doc:"The newest that the client knew at capture."`
	GPC      bool     `json:"gpc,omitempty" doc:"Only narrows."`
	Denied   []string `json:"denied,omitempty" doc:"Purposes. Only narrows."`
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
