package collector

import (
	"encoding/json"
	"net/http"

	"sluice/internal/httpx"
)

// eventsAnswer is what POST /v1/events says.
type eventsAnswer struct {
	Accepted        int                `json:"accepted" doc:"Durable now: acknowledged by all replicas."`
	Duplicate       int                `json:"duplicate" doc:"Accepted before, by the same subject and id. A hint: the filter decides."`
	Denied          int                `json:"denied" doc:"No purpose may use them; nothing of them is kept."`
	Rejected        int                `json:"rejected" doc:"Not valid, or not this key's to post; nothing of them is kept."`
	Errors          []httpx.FieldError `json:"errors" doc:"One an event that was rejected."`
	Warnings        []httpx.FieldError `json:"warnings" doc:"What was set aside, corrected or read strictly of events that were not rejected; at most 100."`
	WarningsOmitted int                `json:"warnings_omitted,omitempty" doc:"How many more warnings there are."`
}

// itemsAnswer is what POST /v1/items says.
type itemsAnswer struct {
	Accepted int                `json:"accepted" doc:"Durable now."`
	Rejected int                `json:"rejected" doc:"Not valid."`
	Errors   []httpx.FieldError `json:"errors" doc:"One an item that was rejected."`
	Warnings []httpx.FieldError `json:"warnings" doc:"What was set aside of accepted items; at most 100."`
}

// rowsAnswer is what POST /v1/replays/{run}/events says. Every row is in one of the three counts.
type rowsAnswer struct {
	Accepted   int        `json:"accepted" doc:"Appended. The filter tells duplicates apart: see GET."`
	Denied     int        `json:"denied" doc:"No purpose may use them."`
	Rejected   int        `json:"rejected" doc:"Not valid."`
	DeniedRows []uint64   `json:"denied_rows" doc:"Numbers of the rows that were denied."`
	Errors     []rowError `json:"errors" doc:"One a row that was rejected."`
}

type rowError struct {
	Row     uint64 `json:"row" doc:"Number in the run, from 1."`
	Code    string `json:"code" doc:"Stable code of the fault."`
	Pointer string `json:"pointer,omitempty" doc:"RFC 6901 pointer to the field of the event."`
	Detail  string `json:"detail" doc:"What must be."`
}

// head is the beginning of an answer that is a problem (RFC 9457) and has the members of the answer beside it.
type head struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func refusal(status int, code, detail string) head {
	return head{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// Nothing was accepted and something rejected.
type (
	eventsRefused struct {
		head
		eventsAnswer
	}
	itemsRefused struct {
		head
		itemsAnswer
	}
	rowsRefused struct {
		head
		rowsAnswer
	}
)

// writeJSON answers with a value; from 400 on it is a problem.
func writeJSON(w http.ResponseWriter, status int, value any) {
	kind := "application/json"
	if status >= http.StatusBadRequest {
		kind = "application/problem+json"
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the client is gone if this fails
}
