package container

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// image is what the final stage of the Dockerfile comes to.
type image struct {
	root       string // of the file system
	uid, gid   int
	env        []string
	volume     string
	stopSignal string
	health     []string
	entrypoint []string
	command    []string
}

// imageStage is the directory of the build stage that the final stage copies from.
const imageStage = "/image"

// built is the image that all tests use, which none of them changes.
var built struct {
	*image
	dir string
}

// buildImage does what the Dockerfile says, in a new directory: the commands of
// its build stage run here instead of in an image of Go's.
func buildImage(t *testing.T) *image {
	t.Helper()
	if built.image != nil {
		return built.image
	}
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "pgx-")
	if err == nil {
		built.dir = dir
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{t: t, stage: filepath.Join(dir, "stage"), image: &image{root: filepath.Join(dir, "root")}}
	for _, path := range []string{b.stage, b.image.root} {
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			b.do(line)
		}
	}
	built.image = b.image
	return b.image
}

func removeImage() {
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
}

// builder carries out a Dockerfile.
type builder struct {
	t     *testing.T
	stage string // what stands for imageStage
	image *image
	final bool // the final stage has begun
}

func (b *builder) do(line string) {
	b.t.Helper()
	word, args, _ := strings.Cut(line, " ")
	if word == "FROM" {
		b.final = args == "scratch"
		return
	}
	act, known := b.instructions()[word]
	if !known {
		b.t.Fatalf("%q is an instruction that this test does not know", line)
	}
	act(args)
}

func (b *builder) instructions() map[string]func(string) {
	if !b.final {
		return map[string]func(string){
			"ARG": func(string) {}, "WORKDIR": func(string) {},
			"COPY": func(string) {}, // of what is here anyway
			"RUN":  b.run,
		}
	}
	return map[string]func(string){
		"COPY": b.copy,
		"USER": func(args string) {
			if _, err := fmt.Sscanf(args, "%d:%d", &b.image.uid, &b.image.gid); err != nil {
				b.t.Fatalf("USER %s: Kubernetes can tell only of a number that it is not root: %v", args, err)
			}
		},
		"ENV":        func(args string) { b.image.env = append(b.image.env, args) },
		"VOLUME":     func(args string) { b.image.volume = args },
		"STOPSIGNAL": func(args string) { b.image.stopSignal = args },
		"HEALTHCHECK": func(args string) {
			_, command, _ := strings.Cut(args, "CMD ")
			b.image.health = b.words(command)
		},
		"ENTRYPOINT": func(args string) { b.image.entrypoint = b.words(args) },
		"CMD":        func(args string) { b.image.command = b.words(args) },
	}
}

func (b *builder) words(text string) (words []string) {
	b.t.Helper()
	if err := json.Unmarshal([]byte(text), &words); err != nil {
		b.t.Fatalf("%s: an image without a shell needs the JSON form: %v", text, err)
	}
	return words
}

func (b *builder) run(command string) {
	b.t.Helper()
	cmd := exec.Command("sh", "-ec", strings.ReplaceAll(command, imageStage, b.stage))
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("RUN %s: %v\n%s", command, err, out)
	}
}

// copy is COPY --from=build [--chown=UID:GID] SOURCE/ TARGET/.
func (b *builder) copy(args string) {
	b.t.Helper()
	uid, gid := 0, 0
	var paths []string
	for word := range strings.FieldsSeq(args) {
		owner, chown := strings.CutPrefix(word, "--chown=")
		switch {
		case chown:
			if _, err := fmt.Sscanf(owner, "%d:%d", &uid, &gid); err != nil {
				b.t.Fatalf("COPY %s: %v", args, err)
			}
		case word == "--from=build":
		case strings.HasPrefix(word, "--"):
			b.t.Fatalf("COPY %s: this test does not know %s", args, word)
		default:
			paths = append(paths, word)
		}
	}
	if len(paths) != 2 || !strings.HasPrefix(paths[0], imageStage+"/") || !strings.HasSuffix(paths[0], "/") || !strings.HasSuffix(paths[1], "/") {
		b.t.Fatalf("COPY %s: this test knows only a directory of %s, and a directory to copy its contents to", args, imageStage)
	}
	source := filepath.Clean(b.stage + strings.TrimPrefix(paths[0], imageStage))
	if err := copyContents(source, filepath.Join(b.image.root, paths[1]), uid, gid); err != nil {
		b.t.Fatalf("COPY %s: %v", args, err)
	}
}

// copyContents copies what is in a directory, with all modes. It belongs to the
// given user, as far as we may say so.
func copyContents(source, target string, uid, gid int) error {
	return filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == source {
			return err
		}
		rel, err := filepath.Rel(source, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		to := filepath.Join(target, rel)
		if entry.IsDir() {
			err = os.Mkdir(to, 0o700)
		} else {
			err = os.Link(path, to) // the stage is ours, too
		}
		if err != nil {
			return err
		}
		if os.Geteuid() == 0 {
			if err := os.Chown(to, uid, gid); err != nil {
				return err
			}
		}
		return os.Chmod(to, info.Mode())
	})
}

// variable returns a variable of the image's environment.
func (im *image) variable(t *testing.T, name string) string {
	t.Helper()
	for _, v := range im.env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	t.Fatalf("the image has no %s", name)
	return ""
}

func (im *image) user() string { return strconv.Itoa(im.uid) + ":" + strconv.Itoa(im.gid) }
