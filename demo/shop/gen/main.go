// Command gen makes the demo shop's files from UCI Online Retail (CC BY 4.0; see ATTRIBUTION.md): a catalogue with categories, and the customers' orders
// under new numbers.
//
//	zstd -dc online_retail.csv.zst | go run ./demo/shop/gen demo/shop/data
package main

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

const (
	minLines = 20 // an item that was ordered less often is left out
	maxLines = 30 // of an order that are kept: more is a wholesaler's list, not a taste
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen DIR < online_retail.csv")
		os.Exit(2)
	}
	if err := run(os.Stdin, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// line is one clean order line.
type line struct {
	invoice, code, title, customer string
	quantity                       int
	time                           time.Time
	price                          float64
}

func run(in io.Reader, dir string) error {
	lines, err := read(in)
	if err != nil {
		return err
	}
	items, index := catalogue(lines)
	if err := write(filepath.Join(dir, "catalogue.tsv.zst"), items); err != nil {
		return err
	}
	return write(filepath.Join(dir, "orders.tsv.zst"), orders(lines, index))
}

// realItem is a stock code of a thing: five digits and perhaps a letter. POST, D, M, BANK CHARGES and the like are not.
var realItem = regexp.MustCompile(`^[0-9]{5}[A-Z]{0,2}$`)

func read(in io.Reader) ([]line, error) {
	rows := csv.NewReader(in)
	if _, err := rows.Read(); err != nil {
		return nil, err
	}
	var lines []line
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return nil, err
		}
		quantity, _ := strconv.Atoi(row[3])
		price, _ := strconv.ParseFloat(row[5], 64)
		at, err := time.Parse(time.DateTime, row[4])
		cancelled := strings.HasPrefix(row[0], "C")
		if err != nil || cancelled || row[6] == "" || quantity <= 0 || price <= 0 || !realItem.MatchString(row[1]) || len(row[2]) < 5 {
			continue
		}
		lines = append(lines, line{row[0], row[1], row[2], row[6], quantity, at, price})
	}
}

// catalogue lists the items as "code title category subcategory price", the most ordered first.
func catalogue(lines []line) (rows []string, index map[string]int) {
	byCode := make(map[string][]line)
	for _, l := range lines {
		byCode[l.code] = append(byCode[l.code], l)
	}
	codes := slices.SortedFunc(maps.Keys(byCode), func(a, b string) int {
		return cmp.Or(len(byCode[b])-len(byCode[a]), strings.Compare(a, b))
	})
	index = make(map[string]int)
	for _, code := range codes {
		sold := byCode[code]
		if len(sold) < minLines {
			break
		}
		prices := make([]float64, len(sold))
		for i, l := range sold {
			prices[i] = l.price
		}
		slices.Sort(prices)
		title := sold[len(sold)-1].title
		category, sub := categorize(title)
		index[code] = len(rows)
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s\t%.2f", code, properCase(title), category, sub, prices[len(prices)/2]))
	}
	return rows, index
}

// orders lists "customer unix-seconds item×quantity …" with items as numbers of catalogue rows, the newest first.
func orders(lines []line, index map[string]int) []string {
	names := make(map[string]bool)
	for _, l := range lines {
		names[l.customer] = true
	}
	all := slices.Sorted(maps.Keys(names))
	random := rand.New(rand.NewPCG(20101201, 1)) //nolint:gosec // reproducible; the numbers are gone, whoever knows the seed
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	number := make(map[string]int)
	for i, name := range all {
		number[name] = i
	}
	type order struct {
		at    int64
		text  strings.Builder
		items int
	}
	byInvoice := make(map[string]*order)
	for _, l := range lines {
		item, listed := index[l.code]
		if !listed {
			continue
		}
		o := byInvoice[l.invoice]
		if o == nil {
			o = &order{at: l.time.Unix()}
			fmt.Fprintf(&o.text, "%d\t%d\t", number[l.customer], l.time.Unix())
			byInvoice[l.invoice] = o
		}
		if o.items++; o.items <= maxLines {
			fmt.Fprintf(&o.text, "%d×%d ", item, l.quantity)
		}
	}
	sorted := slices.SortedFunc(maps.Values(byInvoice), func(a, b *order) int {
		return cmp.Or(cmp.Compare(b.at, a.at), strings.Compare(a.text.String(), b.text.String()))
	})
	rows := make([]string, len(sorted))
	for i, o := range sorted {
		rows[i] = strings.TrimSpace(o.text.String())
	}
	return rows
}

// properCase writes "WHITE HANGING HEART T-LIGHT HOLDER" as "White Hanging Heart T-Light Holder".
func properCase(s string) string {
	words := strings.Fields(strings.ToLower(s))
	for i, w := range words {
		parts := strings.Split(w, "-")
		for j, p := range parts {
			if p != "" {
				parts[j] = strings.ToUpper(p[:1]) + p[1:]
			}
		}
		words[i] = strings.Join(parts, "-")
	}
	return strings.Join(words, " ")
}

// shelf is a place for the items whose title has one of the words; the first that fits takes an item.
type shelf struct {
	category, sub string
	words         string
}

var shelves = []shelf{
	{"Seasonal", "Christmas", "CHRISTMAS XMAS ADVENT SANTA REINDEER SNOWMAN SNOWFLAKE NATIVITY ANGEL WREATH BAUBLE STOCKING NOEL JINGLE"},
	{"Seasonal", "Easter", "EASTER CHICK EGG EGGS BUNNY"},
	{"Party", "Birthday", "BIRTHDAY BALLOON BALLOONS PARTY"},
	{"Party", "Bunting & Garlands", "BUNTING GARLAND GARLANDS PENNANT FLAG FLAGS"},
	{"Party", "Cards & Wrap", "WRAP CARD CARDS RIBBON RIBBONS TAG TAGS GIFT"},
	{"Bags", "Lunch Bags", "LUNCH"},
	{"Bags", "Shoppers & Totes", "BAG BAGS SHOPPER TOTE"},
	{"Bags", "Purses & Wallets", "PURSE WALLET HANDBAG POUCH"},
	{"Lighting", "Candles", "CANDLE CANDLES SCENTED INCENSE CANDLESTICK"},
	{"Lighting", "T-Light Holders", "T-LIGHT T-LIGHTS TLIGHT TEALIGHT"},
	{"Lighting", "Lights & Lanterns", "LIGHT LIGHTS LANTERN LAMP TORCH CHANDELIER LAMPSHADE"},
	{"Kitchen", "Mugs & Cups", "MUG MUGS CUP CUPS TEACUP SAUCER BEAKER"},
	{"Kitchen", "Tea & Coffee", "TEA TEAPOT COFFEE COSY"},
	{"Kitchen", "Baking", "CAKE CAKES BAKING CASES MUFFIN CUPCAKE COOKIE PASTRY PIE FLOUR MEASURING CAKESTAND"},
	{"Kitchen", "Tableware", "PLATE PLATES BOWL BOWLS DISH NAPKIN NAPKINS CUTLERY PLACEMAT COASTER COASTERS DOILY DOILIES TRAY GLASS JUG DINNER STRAWS"},
	{"Kitchen", "Storage Jars & Tins", "JAR JARS TIN TINS JAM PANTRY BREAD BIN CANISTER BOTTLE"},
	{"Kitchen", "Aprons & Linen", "APRON TOWEL TOWELS OVEN GLOVE MITT"},
	{"Kitchen", "Utensils", "KITCHEN PAN SPOON SCALES RECIPE EGGCUP GRATER CHOPPING SPATULA COLANDER COOK"},
	{"Garden", "Plants & Pots", "PLANT POT POTS PLANTER HERB FLOWER FLOWERS SEED WATERING TROWEL GROW"},
	{"Garden", "Outdoors", "GARDEN GARDENERS PARASOL UMBRELLA BIRD BIRDHOUSE FEEDER PICNIC THERMOMETER OUTDOOR"},
	{"Toys", "Games & Puzzles", "GAME GAMES JIGSAW PUZZLE PLAYING DOMINOES SKITTLES SNAKES CHESS"},
	{"Toys", "Dolls & Figures", "DOLL DOLLY SOLDIER SPACEBOY CIRCUS DINOSAUR ROBOT PIRATE TOY TOYS TEDDY PUPPET"},
	{"Toys", "Craft", "FELTCRAFT KIT KNITTING SEWING CRAFT STITCH FELT PAINT CROCHET MAKE"},
	{"Stationery", "Notebooks & Pens", "NOTEBOOK PEN PENS PENCIL PENCILS SKETCHBOOK JOURNAL RUBBER ERASER SHARPENER MEMO CALCULATOR"},
	{"Stationery", "Stickers & Tape", "STICKER STICKERS TAPE STAMP STAMPS MAGNET MAGNETS PAPER TISSUE TISSUES PASSPORT LUGGAGE BOOK"},
	{"Home", "Signs & Wall Art", "SIGN WALL ART BLACKBOARD CHALKBOARD PLAQUE LETTER LETTERS ALPHABET MESSAGE"},
	{"Home", "Clocks", "CLOCK CLOCKS ALARM TIMER"},
	{"Home", "Frames & Mirrors", "FRAME PHOTO MIRROR PICTURE ALBUM"},
	{"Home", "Hooks & Knobs", "HOOK HOOKS KNOB KNOBS HANGER HANGERS DOORSTOP DOORMAT DOOR RACK"},
	{"Home", "Storage", "DRAWER BOX BOXES BASKET STORAGE CABINET CHEST STOOL CRATE CHAIR TABLE SHELF"},
	{"Home", "Cushions & Textiles", "CUSHION COVER QUILT BLANKET THROW BEDSPREAD CURTAIN RUG WARMER HOT"},
	{"Jewellery", "Bracelets & Necklaces", "NECKLACE BRACELET EARRINGS RING BROOCH BEADS KEYRING KEY-CHAIN CHARM HAIR PENDANT BANGLE NECKL"},
	{"Bath", "Bathroom", "BATHROOM BATH SOAP TOILET WASHBAG SPONGE MANICURE COMPACT COSMETIC"},
	{"Decoration", "Hearts", "HEART HEARTS LOVE"},
	{"Decoration", "Hanging Decorations", "DECORATION HANGING DECORATIVE CHIME MOBILE STAR STARS BELL BELLS BUTTERFLY"},
}

func categorize(title string) (category, sub string) {
	words := strings.FieldsFunc(title, func(r rune) bool { return r == ' ' || r == ',' || r == '.' || r == '/' || r == '&' || r == '+' })
	for _, s := range shelves {
		for w := range strings.FieldsSeq(s.words) {
			if slices.Contains(words, w) {
				return s.category, s.sub
			}
		}
	}
	return "Decoration", "Curiosities"
}

func write(path string, rows []string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, strings.Join(rows, "\n")+"\n"); err != nil {
		return err
	}
	return w.Close()
}
