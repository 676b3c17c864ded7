package recommend

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/features/items"
	"sluice/internal/config"
	"sluice/recommend/rank"
)

// Defaults is the built-in surfaces.yaml.
//
//go:embed surfaces.yaml
var Defaults []byte

// similarSurface is what GET /v1/items/{id}/similar uses; a file may leave it out.
const similarSurface = "similar"

// Config is what every place of the storefront shows. It is read-only.
type Config struct {
	surfaces map[string]*Surface
	version  string
}

// Surface is one place of the storefront.
type Surface struct {
	Name        string
	PageSize    int         // items where the request names no limit
	Personal    []Retriever // empty: the surface is never personal
	NonPersonal []Retriever
	Viewed      SeenPolicy
	Purchased   SeenPolicy
	Rules       []rank.Rule
	Diversity   Diversity
}

// Retriever is a retriever with its settings.
type Retriever struct {
	Name       string
	Candidates int
	Weight     float64
	HalfLife   time.Duration // co_visitation, affinity, similar
	KNN        items.KNN     // session_knn; People and Limit are not the surface's
}

// SeenPolicy is what happens to an item that the person has seen already.
type SeenPolicy string

// Policies for seen items.
const (
	Allow   SeenPolicy = "allow"
	Demote  SeenPolicy = "demote" // its score counts half
	Exclude SeenPolicy = "exclude"
)

// Diversity is how much a list prefers items that are unlike one another.
type Diversity struct {
	Method     string // mmr | none
	Lambda     float64
	Similarity string // category | co_visitation
}

// retrieverKind says what a retriever needs, takes and does.
type retrieverKind struct {
	fetch    func(*retrieval, *Retriever)
	personal bool // needs the purpose personalize
	knn      bool // takes items, sample, neighbours, decay, distance and rarity
	halfLife bool
}

var retrieverKinds = map[string]retrieverKind{
	"session_knn":   {fetch: (*retrieval).sessionKNN, personal: true, knn: true, halfLife: true},
	"co_visitation": {fetch: (*retrieval).coVisitation, personal: true, halfLife: true},
	"affinity":      {fetch: (*retrieval).affinity, personal: true, halfLife: true},
	"popular":       {fetch: (*retrieval).popular},
	"trending":      {fetch: (*retrieval).trending},
	"latest":        {fetch: (*retrieval).latest},
	"same_category": {fetch: (*retrieval).sameCategory},
	"similar":       {fetch: (*retrieval).similar, halfLife: true},
	"search":        {fetch: (*retrieval).search},
}

var sameKinds = map[string]rank.Kind{"category": rank.Category, "brand": rank.Brand, "seller": rank.Seller}

const (
	maxCandidates  = 1000
	maxWeight      = 100
	maxCompared    = 20
	maxNeighbours  = 2000
	maxSample      = 10_000
	maxPlaces      = 100 // decay, distance
	maxRarity      = 2
	maxWithin      = 100
	maxRules       = 8
	maxHalfLife    = 365 * 24 * time.Hour
	halfLifeUnset  = 7 * 24 * time.Hour
	knnLifeUnset   = 60 * 24 * time.Hour // a shop's; hourly news want hours
	maxSurfaceName = 64
)

// The YAML as it is written.
type (
	surfaceYAML struct {
		PageSize    int             `yaml:"page_size"`
		Personal    []retrieverYAML `yaml:"personal"`
		NonPersonal []retrieverYAML `yaml:"non_personal"`
		Seen        seenYAML        `yaml:"seen"`
		Require     []requireYAML   `yaml:"require"`
		Diversify   *diversifyYAML  `yaml:"diversify"`
	}
	retrieverYAML struct {
		Retriever  string   `yaml:"retriever"`
		Candidates int      `yaml:"candidates"`
		Weight     *float64 `yaml:"weight"`
		Items      *int     `yaml:"items"`
		Sample     *int     `yaml:"sample"`
		Neighbours *int     `yaml:"neighbours"`
		Decay      *float64 `yaml:"decay"`
		Distance   *float64 `yaml:"distance"`
		Rarity     *float64 `yaml:"rarity"`
		HalfLife   string   `yaml:"half_life"`
	}
	seenYAML struct {
		Viewed    SeenPolicy `yaml:"viewed"`
		Purchased SeenPolicy `yaml:"purchased"`
	}
	requireYAML struct {
		AtMost int    `yaml:"at_most"`
		Same   string `yaml:"same"`
		Within int    `yaml:"within"`
	}
	diversifyYAML struct {
		Method     string   `yaml:"method"`
		Lambda     *float64 `yaml:"lambda"`
		Similarity string   `yaml:"similarity"`
	}
)

// Load reads the section surfaces. The error is config.Errors: everything that is wrong, with line and column.
func Load(sections func(name string) config.Section) (*Config, error) {
	section := sections("surfaces")
	var file map[string]surfaceYAML
	var faults config.Faults
	faults.Add(section.Decode(&file))
	if len(file) == 0 {
		faults.Add(section.Errorf("", "must have at least one surface"))
	}
	c := &Config{surfaces: make(map[string]*Surface, len(file)+1)}
	for _, name := range slices.Sorted(maps.Keys(file)) {
		l := loader{section: section, path: config.Key(name), faults: &faults}
		validName := strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == "" && len(name) <= maxSurfaceName && name != ""
		l.expect(validName, "", "a surface's name must be 1 to %d of a–z, 0–9 and _", maxSurfaceName)
		y := file[name]
		c.surfaces[name] = l.surface(name, &y)
	}
	if c.surfaces[similarSurface] == nil {
		c.surfaces[similarSurface] = builtInSimilar()
	}
	if s := c.surfaces[similarSurface]; len(s.Personal) > 0 {
		faults.Add(section.Errorf("."+similarSurface+".personal", "must not be there: the similar items of an item are the same for everyone"))
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	c.version = versionOf(c.surfaces)
	return c, nil
}

func builtInSimilar() *Surface {
	return &Surface{
		Name: similarSurface, PageSize: 12, Viewed: Allow, Purchased: Allow, Diversity: Diversity{Method: "none", Lambda: 1},
		NonPersonal: []Retriever{{Name: "similar", Candidates: 300, Weight: 1, HalfLife: halfLifeUnset}, {Name: "same_category", Candidates: 200, Weight: 0.2}},
	}
}

// versionOf is a digest of the effective configuration: comments, order of the surfaces and spelled-out defaults do not change it.
func versionOf(surfaces map[string]*Surface) string {
	data, err := json.Marshal(surfaces)
	if err != nil {
		panic(fmt.Sprintf("recommend: marshalling a configuration of plain values: %v", err)) // cannot fail
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Version is sha256: and the digest of the effective configuration.
func (c *Config) Version() string { return c.version }

// Surface finds a surface.
func (c *Config) Surface(name string) (*Surface, bool) {
	s, ok := c.surfaces[name]
	return s, ok
}

// Surfaces lists the names of the surfaces, sorted.
func (c *Config) Surfaces() []string { return slices.Sorted(maps.Keys(c.surfaces)) }

// loader checks one surface.
type loader struct {
	section config.Section
	path    string
	faults  *config.Faults
}

// expect notes an error at path below the surface unless ok.
func (l *loader) expect(ok bool, path, format string, args ...any) {
	if !ok {
		l.faults.Add(l.section.Errorf(l.path+path, format, args...))
	}
}

func (l *loader) surface(name string, y *surfaceYAML) *Surface {
	s := &Surface{Name: name, PageSize: y.PageSize}
	l.expect(y.PageSize >= 1 && y.PageSize <= maxLimit, ".page_size", "must be between 1 and %d", maxLimit)
	for i := range y.Personal {
		s.Personal = append(s.Personal, l.retriever(fmt.Sprintf(".personal[%d]", i), &y.Personal[i], true))
	}
	l.expect(len(y.NonPersonal) > 0, ".non_personal", "must name at least one retriever: it is what everyone gets who does not allow, or has, a personal list")
	for i := range y.NonPersonal {
		s.NonPersonal = append(s.NonPersonal, l.retriever(fmt.Sprintf(".non_personal[%d]", i), &y.NonPersonal[i], false))
	}
	s.Viewed = l.seen(".seen.viewed", y.Seen.Viewed)
	s.Purchased = l.seen(".seen.purchased", y.Seen.Purchased)
	l.expect(len(y.Require) <= maxRules, ".require", "must be at most %d constraints", maxRules)
	for i := range y.Require {
		s.Rules = append(s.Rules, l.rule(fmt.Sprintf(".require[%d]", i), &y.Require[i]))
	}
	s.Diversity = l.diversity(y.Diversify)
	return s
}

func (l *loader) retriever(path string, y *retrieverYAML, personal bool) Retriever {
	kind, known := retrieverKinds[y.Retriever]
	if !known {
		kind = retrieverKind{halfLife: true, knn: true} // what it takes is not known
	}
	l.expect(known, path+".retriever", "unknown retriever; it must be one of %s", strings.Join(slices.Sorted(maps.Keys(retrieverKinds)), ", "))
	l.expect(personal || !kind.personal, path+".retriever", "%s needs personalize and must not stand under non_personal", y.Retriever)
	l.expect(y.Candidates >= 1 && y.Candidates <= maxCandidates, path+".candidates", "must be between 1 and %d", maxCandidates)
	r := Retriever{Name: y.Retriever, Candidates: y.Candidates, Weight: 1}
	if y.Weight != nil {
		r.Weight = *y.Weight
		l.expect(r.Weight > 0 && r.Weight <= maxWeight, path+".weight", "must be more than 0 and at most %d", maxWeight)
	}
	l.expect(kind.halfLife || y.HalfLife == "", path+".half_life", "must not be there: %s takes no half_life", y.Retriever)
	if kind.halfLife {
		r.HalfLife = l.halfLife(path+".half_life", y.HalfLife)
	}
	l.knn(path, &r, y, kind.knn)
	return r
}

// knn reads the settings of session-kNN, which only it takes. What is not given is what was found to rank best: docs/data-engineer.md.
func (l *loader) knn(path string, r *Retriever, y *retrieverYAML, takes bool) {
	if !takes {
		given := []bool{y.Items != nil, y.Sample != nil, y.Neighbours != nil, y.Decay != nil, y.Distance != nil, y.Rarity != nil}
		for i, name := range []string{"items", "sample", "neighbours", "decay", "distance", "rarity"} {
			l.expect(!given[i], path+"."+name, "must not be there: %s takes no %s", y.Retriever, name)
		}
		return
	}
	r.KNN = items.KNN{
		Items: l.number(path+".items", y.Items, 10, maxCompared), Sample: l.number(path+".sample", y.Sample, 250, maxSample),
		Neighbours: l.number(path+".neighbours", y.Neighbours, 150, maxNeighbours), HalfLife: r.HalfLife,
		Decay: l.places(path+".decay", y.Decay, 1.5), Distance: l.places(path+".distance", y.Distance, 3), Rarity: 0.5,
	}
	r.HalfLife = 0
	if y.HalfLife == "" {
		r.KNN.HalfLife = knnLifeUnset
	}
	if y.Rarity != nil {
		r.KNN.Rarity = *y.Rarity
		l.expect(r.KNN.Rarity >= 0 && r.KNN.Rarity <= maxRarity, path+".rarity", "must be between 0 and %d", maxRarity)
	}
}

func (l *loader) places(path string, given *float64, absent float64) float64 {
	if given == nil {
		return absent
	}
	l.expect(*given >= 0.1 && *given <= maxPlaces, path, "must be between 0.1 and %d places", maxPlaces)
	return *given
}

func (l *loader) number(path string, given *int, absent, most int) int {
	if given == nil {
		return absent
	}
	l.expect(*given >= 1 && *given <= most, path, "must be between 1 and %d", most)
	return *given
}

func (l *loader) halfLife(path, text string) time.Duration {
	if text == "" {
		return halfLifeUnset
	}
	d, err := config.ParseDuration(text)
	if err != nil {
		l.expect(false, path, "%s", err.Error())
		return 0
	}
	l.expect(d <= maxHalfLife, path, "must be at most 365d")
	return d
}

func (l *loader) seen(path string, p SeenPolicy) SeenPolicy {
	if p == "" {
		return Allow
	}
	l.expect(p == Allow || p == Demote || p == Exclude, path, "must be allow, demote or exclude")
	return p
}

func (l *loader) rule(path string, y *requireYAML) rank.Rule {
	same, known := sameKinds[y.Same]
	l.expect(known, path+".same", "must be category, brand or seller")
	l.expect(y.Within >= 2 && y.Within <= maxWithin, path+".within", "must be between 2 and %d slots", maxWithin)
	l.expect(y.AtMost >= 1, path+".at_most", "must be at least 1")
	l.expect(y.AtMost < y.Within || y.Within < 2, path+".at_most", "must be less than within, or the constraint always holds")
	return rank.Rule{AtMost: y.AtMost, Within: y.Within, Same: same}
}

func (l *loader) diversity(y *diversifyYAML) Diversity {
	if y == nil {
		return Diversity{Method: "none", Lambda: 1}
	}
	l.expect(y.Method == "mmr" || y.Method == "none", ".diversify.method", "must be mmr or none")
	if y.Method != "mmr" {
		l.expect(y.Lambda == nil, ".diversify.lambda", "must not be there: method none takes no lambda")
		l.expect(y.Similarity == "", ".diversify.similarity", "must not be there: method none takes no similarity")
		return Diversity{Method: "none", Lambda: 1}
	}
	d := Diversity{Method: "mmr", Lambda: 0.7, Similarity: y.Similarity}
	if y.Lambda != nil {
		d.Lambda = *y.Lambda
		l.expect(d.Lambda >= 0 && d.Lambda <= 1, ".diversify.lambda", "must be between 0 and 1")
	}
	if d.Similarity == "" {
		d.Similarity = "category"
	}
	l.expect(d.Similarity == "category" || d.Similarity == "co_visitation", ".diversify.similarity", "must be category or co_visitation")
	return d
}
