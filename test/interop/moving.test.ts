/**
 * The recipe of docs/choose/moving.md with a real pymilter and a real go-milter: the old filter of the page is recorded, and the new
 * filter of the page does to mail what the old one did.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { read } from "../../scripts/repository.ts"
import { spawn } from "../../testbed/childProcess.ts"
import * as daemon from "../../testbed/daemon.ts"
import { describeWith } from "../../testbed/prerequisite.ts"
import { command, runAll } from "../support/commandLine.ts"

const python = "/usr/bin/python3"

// Debian's packages of libraries in Go are sources without a module.
const goPath = "/usr/share/gocode"

const goEnvironment = (cache: string) => ({
  ...process.env,
  GO111MODULE: "off",
  GOPATH: goPath,
  GOCACHE: cache,
  GOFLAGS: ""
})

const hasPymilter = ChildProcess.spawnSync(python, ["-c", "import Milter"]).status === 0

const goMilter = "github.com/emersion/go-milter"

const hasGoMilter = ChildProcess.spawnSync("go", ["version"]).status === 0 &&
  Fs.existsSync(Path.join(goPath, "src", goMilter))

const page = read("docs/choose/moving.md")

/** The first example in a language, from a heading on. */
const example = (language: string, heading: string): string => {
  const [, text] = new RegExp(`^${heading}$[^]*?^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "m").exec(page) ?? []
  return text!
}

/** The page's milters. Each is at a socket of this test once its effect has ended. */
const pymilter = Effect.fnUntraced(function*(directory: string, socket: string) {
  const text = example("python", "## pymilter").replace("inet:9000@127.0.0.1", `unix:${socket}`)
  const file = daemon.write(directory, "old.py", `import Milter\n\n${text}`)
  yield* daemon.start({ command: python, args: [file], socket })
})

const goProgram = `package main

import (
	"net"
	"os"
	"strings"

	"${goMilter}"
)

${example("go", "## go-milter \\(emersion\\)")}
func main() {
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		panic(err)
	}
	server := milter.Server{
		NewMilter: func() milter.Milter { return notFromUs{} },
		Actions:   milter.OptAddHeader,
	}
	panic(server.Serve(listener))
}
`

const emersion = Effect.fnUntraced(function*(directory: string, socket: string) {
  const file = daemon.write(directory, "old.go", goProgram)
  const program = Path.join(directory, "old")
  ChildProcess.execFileSync("go", ["build", "-o", program, file], {
    stdio: "pipe",
    env: goEnvironment(Path.join(directory, "go-cache"))
  })
  yield* daemon.start({ command: program, args: [socket], socket })
})

const libraries = [
  {
    name: "pymilter",
    start: pymilter,
    missing: hasPymilter ? undefined : "there is no pymilter (Debian: apt-get install python3-milter)"
  },
  {
    name: "go-milter",
    start: emersion,
    missing: hasGoMilter
      ? undefined
      : "there is no go-milter (Debian: apt-get install golang-go golang-github-emersion-go-milter-dev)"
  }
]

const modules = fileURLToPath(new URL("../support/modules", import.meta.url))

/** A module with the page's filter, in a place where it finds the package. */
const moduleOf = (text: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => Fs.mkdtempSync(Path.join(modules, "moving-"))),
      (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
    ),
    (folder) => daemon.write(folder, "new.ts", text)
  )

const serve = Effect.fnUntraced(function*(module: string, address: string) {
  const served = yield* spawn(process.execPath, command(["serve", module, "--listen", address]), {
    env: { NO_COLOR: "1" }
  })
  yield* served.shows(/INPUT_MAIL_FILTER/)
})

for (const { missing, name, start } of libraries) {
  describeWith(missing, `moving from ${name}`, () => {
    it.live("is: record there, replay here, exit 0", () =>
      Effect.gen(function*() {
        const directory = yield* daemon.directory
        const old = Path.join(directory, "old.sock")
        yield* start(directory, old)
        const message = daemon.write(
          directory,
          "hello.eml",
          "From: alice@example.org\nTo: bob@example.net\nSubject: hi\n\nHello\n"
        )
        const recording = Path.join(directory, "old.jsonl")
        const between = `unix:${directory}/between.sock`
        const trace = yield* spawn(
          process.execPath,
          command(["trace", "--listen", between, "--upstream", `unix:${old}`, "--record", recording]),
          { env: { NO_COLOR: "1" } }
        )
        yield* trace.shows(/listening on/)
        const [accepted, rejected] = yield* runAll([
          ["send", message, "--to", between],
          ["send", message, "--to", between, "--from", "mallory@example.com"]
        ])
        assert.strictEqual(accepted!.code, 0, accepted!.stderr)
        assert.include(accepted!.stdout, "+X-Checked: yes")
        assert.strictEqual(rejected!.code, 2, rejected!.stderr)
        assert.include(rejected!.stdout, "550 5.7.1 not allowed here!")
        yield* trace.shows(/ has closed\n[^]* has closed\n/)
        yield* trace.signal("SIGINT")
        yield* trace.exit

        const text = example("ts", "# Moving from another library")
        const same = `unix:${directory}/new.sock`
        yield* serve(yield* moduleOf(`${text}\nexport default NotFromUs\n`), same)
        const careless = `unix:${directory}/careless.sock`
        yield* serve(
          yield* moduleOf(`${text.replace("550", "554")}\nexport default NotFromUs\n`),
          careless
        )
        const [alike, other] = yield* runAll([
          ["replay", recording, "--to", same, "--outcome"],
          ["replay", recording, "--to", careless, "--outcome"]
        ])
        assert.strictEqual(alike!.code, 0, alike!.stdout + alike!.stderr)
        assert.match(alike!.stdout, /^2 messages: same outcome/m)
        assert.strictEqual(other!.code, 2)
        assert.include(
          other!.stdout,
          "- rejected: 550 5.7.1 not allowed here!\n  + rejected: 554 5.7.1 not allowed here!"
        )
      }).pipe(Effect.scoped))
  })
}
