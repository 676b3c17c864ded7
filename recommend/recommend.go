// Package recommend answers what a page should show. It retrieves, blends, keeps constraints, explains, and knows when a list may not be personal.
//
// A request reads one snapshot of everything: the person's access, the published lists, the catalogue. Where personalization is off, unknown or late, the
// list is made from the page context and the person's own blocks alone, so that it is byte for byte a stranger's.
package recommend

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/features/items"
	"sluice/features/profile"
	"sluice/features/trending"
	"sluice/internal/admission"
	"sluice/internal/catalog"
	"sluice/internal/httpx"
	"sluice/internal/itemid"
	"sluice/privacyfilter"
	"sluice/privacyfilter/consent"
	"sluice/recommend/cursor"
)

// Access is what holds for a person at one moment; *consent.Access is one.
type Access interface {
	Known() bool
	Effective(purpose string) privacyfilter.Decision
	Identities(purpose string) []consent.Identity
	HiddenEvents() map[uint64]struct{}
	Blocks() *consent.Blocks
}

// Consents knows what people allow. FromView makes one of a consent.View.
type Consents interface {
	// Lookup fails with consent.ErrLeaseLapsed where a subject is named and its present state cannot be known here.
	Lookup(p consent.Person) (Access, error)
	// Holds tells whether what Lookup returned is still true; it is asked just before an answer is written.
	Holds(a Access) bool
}

// Personal is the view of people's kept interactions and of what is folded from them; *profile.View is one. Items are numbers of Options.IDs.
type Personal interface {
	// Interactions appends what the person did to out, the oldest first.
	Interactions(out []items.Interaction, id consent.Identity) []items.Interaction
	// Together appends what is looked at together with the item.
	Together(out []items.Scored, item uint32, now int64, halfLife time.Duration, limit int) []items.Scored
	// Neighbours appends what people had in sessions like the present one (the oldest item first), without the own people's.
	Neighbours(out []items.Scored, present []uint32, own []items.Subject, now int64, o items.KNN) []items.Scored
	// Linked tells whether a reason may name the pair: enough other people have both items in one session.
	Linked(a, b uint32, own []items.Subject) bool
	Now() int64
}

// Trending is the view of the published lists; *trending.View is one.
type Trending interface {
	Lists() *trending.Lists
}

// Catalogue is the view of the items; *catalog.View is one.
type Catalogue interface {
	Snapshot() *catalog.Snapshot
}

var (
	_ Personal  = (*profile.View)(nil)
	_ Trending  = (*trending.View)(nil)
	_ Catalogue = (*catalog.View)(nil)
)

// Options of the ranking API. All views must be given.
type Options struct {
	Config    *Config
	Consents  Consents
	Personal  Personal
	Trending  Trending
	Catalogue Catalogue
	IDs       *itemid.Table   // the numbers of items, which the views share
	Door      *admission.Door // nil: everybody is let in at once
	// CursorKey seals cursors; every node of a deployment needs the same one.
	CursorKey [32]byte
	// Session is the personalize hash of a session id as interactions carry it (first 8 bytes of the pseudonym, big endian). nil: session ids are not looked at.
	Session func(id string) uint64
	// UserToken is the user id that a request's user token proves. nil: write keys never speak for an account.
	UserToken  func(r *http.Request) (string, error)
	Now        func() time.Time // nil: time.Now
	Registerer prometheus.Registerer
	Logger     *slog.Logger // nil: silent
}

// service answers requests.
type service struct {
	Options
	cursors *cursor.Sealer
	metrics *metrics
	similar *similarCache
	lists   publisher
	shared  shared
	pool    pool
}

// Register adds the ranking API to api.
func Register(api *httpx.API, o Options) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := newService(o)
	for pattern, handler := range map[string]http.HandlerFunc{
		"POST /v1/recommendations":   s.recommendations,
		"GET /v1/items/{id}/similar": s.similarItems,
		"GET /v1/lists/{list}":       s.list,
	} {
		api.Mux.Handle(pattern, api.Keys.Require(handler, httpx.RoleWrite, httpx.RoleServer))
	}
	document(api)
}

func newService(o Options) *service {
	return &service{
		Options: o, cursors: cursor.NewSealer(o.CursorKey), metrics: newMetrics(o.Registerer),
		similar: newSimilarCache(o.Personal), lists: publisher{ids: o.IDs},
	}
}
