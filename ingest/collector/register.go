package collector

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"sluice/internal/httpx"
)

// Register adds the operations to the API. The keys are the API's.
func (c *Collector) Register(api *httpx.API) {
	c.keys = api.Keys
	api.Mux.HandleFunc("POST /v1/events", c.postEvents)
	api.Mux.HandleFunc("POST /v1/items", c.postItems)
	api.Mux.HandleFunc("POST /v1/replays/{run}/events", c.postRows)
	document(api)
	server := api.Secure(httpx.RoleServer)
	huma.Register(api.Huma, huma.Operation{
		OperationID: "delete-item", Method: http.MethodDelete, Path: "/v1/items/{id}", Tags: []string{"catalogue"}, Summary: "Remove an item from the catalogue",
		Description:   "Server key. Removing an item that is not there is done. No list that is asked for afterwards holds the item. 409 `no_catalogue`: nothing was ever posted, so lists hold what events name.",
		DefaultStatus: http.StatusNoContent, Middlewares: server, Security: httpx.Security(httpx.RoleServer), Errors: []int{http.StatusConflict, http.StatusServiceUnavailable},
	}, c.deleteItem)
	huma.Register(api.Huma, huma.Operation{
		OperationID: "get-replay", Method: http.MethodGet, Path: "/v1/replays/{run}", Tags: []string{"replays"}, Summary: "How the filter has settled a run's rows so far",
		Description: "Server key. A row that was sent twice is counted once. A run that is not known has none.", Middlewares: server, Security: httpx.Security(httpx.RoleServer),
	}, c.getRun)
}

// document describes the operations that plain handlers serve.
func document(api *httpx.API) {
	d := documenter{api.Huma.OpenAPI().Components.Schemas}
	rejected := "Nothing was accepted and something rejected. The members of the answer stand beside the problem's."
	api.Document(&huma.Operation{
		OperationID: "post-events", Method: http.MethodPost, Path: "/v1/events", Tags: []string{"events"}, Summary: "Collect events",
		Description: "One event, an array of events, one event a line, or {\"sent_at\":…,\"events\":[…]}; plain, gzip or zstd. An event has at most 32 KiB, a body 5 MiB when it is decompressed, " +
			"a request 10,000 events. A write key may post browsing types; its user_id counts only beside a Sluice-User-Token (a JWT, EdDSA, signed by the storefront, with sub and exp). " +
			"jurisdiction, order, account, payments, what happens to an account, and labels need a server key. Sec-GPC: 1 counts for every event of the request.",
		Security: httpx.Security(httpx.RoleWrite, httpx.RoleServer),
		Parameters: []*huma.Param{
			{Name: "key", In: "query", Description: "A write key, for beacons, which cannot set headers.", Schema: &huma.Schema{Type: huma.TypeString}},
			httpx.UserToken(), httpx.GPC("It counts for every event of the request."),
		},
		RequestBody: eventsBody(api),
		Responses: d.responses(map[string]answered{
			"202": {"Taken. Accepted events are durable.", reflect.TypeFor[eventsAnswer]()},
			"400": {"The body as a whole cannot be read.", problemType}, "401": {"No valid key.", problemType},
			"403": {"An operator key, or every event needs a server key.", reflect.TypeFor[eventsAnswer]()}, "413": {"Too large, or too many events.", problemType},
			"415": {"A content type or encoding that is not taken.", problemType}, "422": {rejected, reflect.TypeFor[eventsAnswer]()},
			"429": {"Too much is in flight, or waits to be settled, or a write key's quota is used up; see Retry-After.", problemType}, "503": {"The log cannot be written, or consent not be known, now.", problemType},
		}),
	})
	api.Document(&huma.Operation{
		OperationID: "post-items", Method: http.MethodPost, Path: "/v1/items", Tags: []string{"catalogue"}, Summary: "Add or replace catalogue items",
		Description: "NDJSON, one item a line, at most 64 KiB each; 5 MiB and 10,000 items a request. An item replaces the one with its item_id as a whole. Server key.",
		Security:    httpx.Security(httpx.RoleServer), RequestBody: api.Body(reflect.TypeFor[catalogueItem](), itemExample, typeNDJSON, typeJSON),
		Responses: d.responses(map[string]answered{
			"202": {"Taken. Accepted items are durable.", reflect.TypeFor[itemsAnswer]()}, "422": {rejected, reflect.TypeFor[itemsAnswer]()},
			"400": {"The body cannot be read.", problemType}, "401": {"No valid key.", problemType}, "403": {"Another role's key.", problemType},
			"413": {"Too large, or too many items.", problemType}, "415": {"A content type or encoding that is not taken.", problemType},
			"429": {"Too much is in flight; see Retry-After.", problemType}, "503": {"The catalogue cannot be written now.", problemType},
		}),
	})
	api.Document(&huma.Operation{
		OperationID: "post-replay-events", Method: http.MethodPost, Path: "/v1/replays/{run}/events", Tags: []string{"replays"}, Summary: "Send rows of a replayed file",
		Description: "NDJSON, one row per line, row numbers from 1; 5 MiB and 10,000 rows a request. A row may be sent again: it is settled once, by its number. Server key. `sluice replay` does this.",
		Security:    httpx.Security(httpx.RoleServer), RequestBody: api.Body(reflect.TypeFor[replayedRow](), map[string]any{"row": 1, "event": eventExample}, typeNDJSON, typeJSON),
		Parameters: []*huma.Param{{Name: "run", In: "path", Required: true, Description: "16 hexadecimal digits, the sender's choice.", Schema: &huma.Schema{Type: huma.TypeString, Pattern: "^[0-9a-fA-F]{16}$"}}},
		Responses: d.responses(map[string]answered{
			"202": {"Taken. accepted + denied + rejected = the rows of the request.", reflect.TypeFor[rowsAnswer]()}, "422": {rejected, reflect.TypeFor[rowsAnswer]()},
			"400": {"A line has no row; nothing was stored.", problemType}, "401": {"No valid key.", problemType}, "403": {"Another role's key.", problemType},
			"413": {"Too large, or too many rows.", problemType}, "415": {"A content type or encoding that is not taken.", problemType},
			"429": {"Too much is in flight, or waits to be settled; see Retry-After.", problemType}, "503": {"The log cannot be written, or consent not be known, now.", problemType},
		}),
	})
}

var problemType = reflect.TypeFor[httpx.Problem]()

// answered is one answer of an operation. From status 400 on the body is a problem, with the members of the type beside it.
type answered struct {
	doc  string
	body reflect.Type
}

// documenter makes the parts of an operation that huma makes itself where it serves.
type documenter struct{ schemas huma.Registry }

func (d documenter) responses(answers map[string]answered) map[string]*huma.Response {
	all := make(map[string]*huma.Response, len(answers))
	for status, a := range answers {
		kind, schema := "application/json", d.schemas.Schema(a.body, true, "")
		if status[0] != '2' {
			kind = "application/problem+json"
			if a.body != problemType {
				schema = &huma.Schema{AllOf: []*huma.Schema{d.schemas.Schema(problemType, true, ""), schema}}
			}
		}
		all[status] = &huma.Response{Description: a.doc, Content: map[string]*huma.MediaType{kind: {Schema: schema}}}
	}
	return all
}
