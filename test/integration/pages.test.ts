/**
 * The pages that readers follow do what they say, step by step, with the package as `npm pack` makes it:
 * scripts/followPage.ts runs them in a fresh directory, and *start here* on a machine with nothing prepared, where
 * scripts/freshMachine.sh can make one.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { blocksOf } from "../../scripts/docs/steps.ts"
import { describePostfix, missingPrerequisite } from "../../testbed/postfix.ts"
import { describeWith } from "../../testbed/prerequisite.ts"
import * as Sendmail from "../../testbed/sendmail.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const freshMachine = Path.join(root, "scripts/freshMachine.sh")

const env = { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/usr/local/sbin` }

/** Installing takes as long as the network does. */
const timeout = 600_000

let directory = ""
let tarball = ""

const run = (command: string, ...args: ReadonlyArray<string>): Promise<void> =>
  new Promise((resolve, reject) => {
    ChildProcess.execFile(command, args, { cwd: root, encoding: "utf8" }, (error, stdout, stderr) => {
      if (error === null) resolve()
      else reject(new Error(`${command} ${args.join(" ")}\n${stdout}${stderr}`))
    })
  })

const follow = (...pages: ReadonlyArray<string>): ReadonlyArray<string> => ["scripts/followPage.ts", tarball, ...pages]

beforeAll(async () => {
  directory = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-milter-pages-"))
  await run("npm", "pack", "--silent", "--pack-destination", directory)
  tarball = Path.join(directory, Fs.readdirSync(directory).find((file) => file.endsWith(".tgz"))!)
}, timeout)

afterAll(() => Fs.rmSync(directory, { recursive: true, force: true }))

describe("in empty directories", () => {
  for (const page of ["docs/learn/guide.md", "docs/filters/messages.md", "docs/filters/authentication.md"]) {
    it(`${page} does what it says`, () => run(process.execPath, ...follow(page)), timeout)
  }
})

const mayMount = (): boolean => ChildProcess.spawnSync(freshMachine, ["--check"], { stdio: "ignore" }).status === 0

const onFreshMachine = (): void => {
  it(
    "docs/learn/start-here.md and docs/operate/mta.md do what they say",
    () =>
      run(
        freshMachine,
        directory,
        process.execPath,
        ...follow("docs/learn/start-here.md", "docs/operate/mta.md", "--bare")
      ),
    timeout
  )
}

/** Whether somebody listens on a TCP port, as Linux tells it: address and port in hexadecimal, and a state. */
const isTaken = (port: number): boolean =>
  ["/proc/net/tcp", "/proc/net/tcp6"].filter((file) => Fs.existsSync(file)).some((file) =>
    new RegExp(`:${port.toString(16).toUpperCase().padStart(4, "0")} [0-9A-F]+:0000 0A `)
      .test(Fs.readFileSync(file, "utf8"))
  )

const missing = missingPrerequisite()
// What nothing that could be installed would mend: most containers let nobody mount, and a mail host has its own Postfix.
const inTheWay = missing !== undefined
  ? undefined
  : !mayMount()
  ? "nobody may mount here"
  : [25, 9000].some(isTaken)
  ? "port 25 or 9000 is in use"
  : undefined
if (inTheWay !== undefined) {
  describe.skip(`on a machine with nothing prepared (${inTheWay})`, onFreshMachine)
} else {
  describeWith(missing, "on a machine with nothing prepared", onFreshMachine)
}

/** They begin with `# main.cf`, `# master.cf`, or `dnl sendmail.mc`. */
const configurations = blocksOf(Fs.readFileSync(Path.join(root, "docs/operate/mta.md"), "utf8"))

describePostfix("Postfix's configuration in docs/operate/mta.md", () => {
  for (const { line, text } of configurations.filter(({ language }) => language === "ini")) {
    it(`line ${line} is understood by Postfix`, () => {
      const etc = Fs.mkdtempSync(Path.join(directory, "etc-"))
      const file = /^# (\w+\.cf)/.exec(text)![1]!
      for (const name of ["main.cf", "master.cf"]) Fs.writeFileSync(Path.join(etc, name), name === file ? text : "")
      for (const what of ["-n", "-M"]) {
        const { status, stderr } = ChildProcess.spawnSync("postconf", ["-c", etc, what], { encoding: "utf8", env })
        assert.deepStrictEqual([status, stderr], [0, ""])
      }
    })
  }
})

/** Without one there is nothing about macros in sendmail.cf. */
const someFilter = "INPUT_MAIL_FILTER(`some', `S=inet:9000@127.0.0.1')"

Sendmail.describeSendmail("Sendmail's configuration in docs/operate/mta.md", () => {
  for (const { line, text } of configurations.filter(({ language }) => language === "m4")) {
    it.effect(`line ${line} is understood by Sendmail`, () =>
      Effect.gen(function*() {
        const { cf, complaints } = yield* Sendmail.compile(/MAIL_FILTER/.test(text) ? text : `${someFilter}\n${text}`)
        assert.strictEqual(complaints, "")
        // What is asked for is in it: a filter with its equates, or macros of a stage.
        const [, filter] = /^(?:INPUT_MAIL_FILTER|MAIL_FILTER)\(`\w+', `(.*)'\)/m.exec(text) ?? []
        const [, macros] = /^define\(`confMILTER_MACROS_CONNECT', `(.*)'\)/m.exec(text) ?? []
        const [, daemon] = /^DAEMON_OPTIONS\(`(.*)'\)/m.exec(text) ?? []
        for (const expected of [filter, macros, daemon]) {
          if (expected !== undefined) assert.include(cf, expected)
        }
      }))
  }
})
