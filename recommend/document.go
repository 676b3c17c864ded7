package recommend

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"sluice/internal/httpx"
)

// document describes the plain handlers in /openapi.json.
func document(api *httpx.API) {
	schemas := api.Huma.OpenAPI().Components.Schemas
	answer := schemas.Schema(reflect.TypeFor[Recommendations](), true, "Recommendations")
	problem := schemas.Schema(reflect.TypeFor[httpx.Problem](), true, "Problem")
	json := func(s *huma.Schema) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{"application/json": {Schema: s}}
	}
	responses := func(more map[string]string) map[string]*huma.Response {
		all := map[string]*huma.Response{"200": {Description: "The list.", Content: json(answer)}}
		for status, what := range more {
			all[status] = &huma.Response{Description: what, Content: map[string]*huma.MediaType{"application/problem+json": {Schema: problem}}}
		}
		return all
	}
	common := map[string]string{
		"401": "No valid key.", "403": "A key with another role.", "410": "The cursor is older than 30 minutes: start again with the first page.",
		"422": "The request is not valid; errors name the fields.", "429": "Too many lists are asked for, or this one could not have been ready in time; see Retry-After.",
		"503": "The request names a person, and this node cannot know what they have consented to now. Retry, or ask without a person.",
	}
	security := httpx.Security(httpx.RoleWrite, httpx.RoleServer)
	gpc, token := httpx.GPC("The list is not personal."), httpx.UserToken()
	api.Document(&huma.Operation{
		OperationID: "recommend", Method: http.MethodPost, Path: "/v1/recommendations", Tags: []string{"ranking"}, Summary: "Recommend items for a place of the storefront",
		Description: "Write or server key. Name the person as far as the page knows: the list is personal where the person allows it, and everyone's otherwise. " +
			"A person's blocks hold in both. An item that is out of stock, discontinued or not yet available is never in a list. At most 256 KiB; a field that is not listed here is an error.",
		Security: security, Parameters: []*huma.Param{gpc, token}, Responses: responses(common),
		RequestBody: api.Body(reflect.TypeFor[RecommendationRequest](), requestExample, "application/json"),
	})
	common["404"] = "No such item, or no such list."
	api.Document(&huma.Operation{
		OperationID: "similar-items", Method: http.MethodGet, Path: "/v1/items/{id}/similar", Tags: []string{"ranking"}, Summary: "List items similar to an item",
		Description: "The same for everyone, but for the blocks of the person, if one is named. Write or server key.",
		Security:    security, Parameters: append([]*huma.Param{pathParam("id", "Item id.")}, append(listParams(), gpc, token)...), Responses: responses(common),
	})
	list := pathParam("list", "trending: more people than usual; popular: most people; latest: newest of the catalogue.")
	list.Schema.Enum = []any{"trending", "popular", "latest"}
	api.Document(&huma.Operation{
		OperationID: "list-items", Method: http.MethodGet, Path: "/v1/lists/{list}", Tags: []string{"ranking"}, Summary: "List what is trending, popular or new",
		Description: "Counted in people, not clicks; the same for everyone, but for the blocks of the person, if one is named. A short list is filled from the catalogue. Write or server key.",
		Security:    security, Parameters: append([]*huma.Param{list}, append(listParams(), gpc, token)...), Responses: responses(common),
	})
}

var requestExample = map[string]any{
	"surface": "item", "user_id": "ada", "anonymous_id": "v-9f8e", "session_id": "s-1", "context": map[string]any{"item_ids": []string{"lamp-1"}, "locale": "en"}, "limit": 20,
}

func pathParam(name, doc string) *huma.Param {
	return &huma.Param{Name: name, In: "path", Required: true, Description: doc, Schema: &huma.Schema{Type: "string"}}
}

func listParams() []*huma.Param {
	text := func(name, doc string) *huma.Param {
		return &huma.Param{Name: name, In: "query", Description: doc, Schema: &huma.Schema{Type: "string"}}
	}
	least, most := 1.0, float64(maxLimit)
	return []*huma.Param{
		{Name: "limit", In: "query", Description: "Items wanted.", Schema: &huma.Schema{Type: "integer", Minimum: &least, Maximum: &most}},
		text("cursor", "next_cursor of the page before."),
		text("category", "Limits the list to this category, at any depth of an item's paths."),
		text("locale", "Of the page."),
		text("user_id", "Whose blocks hold. With a write key it counts only beside this user's token."),
		text("anonymous_id", "Whose blocks hold: the device's own random id."),
	}
}
