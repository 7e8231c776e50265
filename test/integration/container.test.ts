/**
 * The container to try filters against. Images can only be built where there is a container engine, which is not so
 * everywhere, continuous integration included: what is in them is tested without one, as far as that goes.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { spawn } from "../../testbed/childProcess.ts"
import { findProgram, freePort, makeDirectory, MtaError, poll, run } from "../../testbed/mta.ts"
import * as Postfix from "../../testbed/postfix.ts"
import { realTime } from "../../testbed/realTime.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import { forLongTest } from "../../testbed/timeLimits.ts"
import * as Example from "./support/exampleProcess.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))
const container = Path.join(root, "container")
const entrypoint = Path.join(container, "postfix/entrypoint.sh")

const directory = Effect.acquireRelease(
  makeDirectory("effect-milter-container-"),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true, maxRetries: 5 }))
)

/** Sends one message to bob, and gives the reply. */
const send = Effect.fnUntraced(function*(port: number, to = "bob@test.example") {
  const client = yield* SmtpClient.connect(port)
  const message = "Subject: hello\r\n\r\nHello, Bob.\r\n"
  const { last } = yield* client.sendMail({ from: "alice@example.org", to, message })
  yield* client.quit
  return last.text
}, Effect.scoped)

// ---------------------------------------------------------------------------------------------------------------------

/** What the image has: a master.cf of Debian's, here with another port, and no main.cf worth mentioning. */
const configuration = Effect.gen(function*() {
  const path = yield* directory
  const port = yield* freePort(["127.0.0.1"])
  const etc = Path.join(path, "etc")
  const inbox = Path.join(path, "inbox")
  for (const each of [etc, inbox, Path.join(path, "queue"), Path.join(path, "data")]) Fs.mkdirSync(each)
  const master = Fs.readFileSync("/usr/share/postfix/master.cf.dist", "utf8")
  Fs.writeFileSync(Path.join(etc, "master.cf"), master.replace(/^smtp( +inet)/m, `127.0.0.1:${port}$1`))
  Fs.writeFileSync(
    Path.join(etc, "main.cf"),
    `queue_directory = ${path}/queue\ndata_directory = ${path}/data\ninet_interfaces = loopback-only\n`
  )
  yield* run("chown", ["nobody", inbox])
  yield* run("chown", ["postfix", Path.join(path, "data")])
  return { etc, inbox: Path.join(inbox, "inbox"), env: { MAIL_CONFIG: etc, INBOX: inbox }, port }
})

/** Runs the entrypoint until it ends. */
const enter = (env: { readonly [name: string]: string }, ...args: ReadonlyArray<string>) =>
  Effect.sync(() => {
    const { MILTERS: _, ...environment } = process.env
    const { status, stderr, stdout } = ChildProcess.spawnSync(entrypoint, args, {
      env: { ...environment, ...env },
      encoding: "utf8"
    })
    return { status, stderr, stdout }
  })

/**
 * Runs the entrypoint as the image does, with its log in a file: Postfix opens what standard output is, which is not
 * possible with the sockets that Node uses as pipes. Not being process 1, it does not end by a signal to the script.
 */
const start = Effect.fnUntraced(function*(env: { readonly [name: string]: string }) {
  const log = Path.join(yield* directory, "log")
  yield* Effect.acquireRelease(
    spawn("sh", ["-c", "exec \"$@\" > \"$0\" 2>&1", log, entrypoint, "postfix", "start-fg"], { env }),
    (child) =>
      Effect.andThen(
        Effect.ignore(run("postfix", ["-c", env["MAIL_CONFIG"]!, "stop"])),
        realTime(child.exit)
      )
  )
  const output = Effect.sync(() => Fs.existsSync(log) ? Fs.readFileSync(log, "utf8") : "")
  const shows = (pattern: RegExp) => poll(20_000, Effect.map(output, (text) => pattern.test(text) ? true : undefined))
  if (!(yield* shows(/postfix\/master\[\d+\]: daemon started/))) {
    return yield* new MtaError({ message: yield* output })
  }
  return { output }
})

Postfix.describePostfix("container/postfix/entrypoint.sh", () => {
  it.effect("becomes a Postfix that asks the filter, and delivers into one file", () =>
    Effect.gen(function*() {
      const { env, inbox, port } = yield* configuration
      const { child: filter, milter } = yield* Example.serve("append_header_ip", ["--headername", "X-Client"])
      const { output } = yield* start({ ...env, MILTERS: milter })
      assert.match(yield* send(port), /^250 /)
      assert.match(yield* send(port, "anybody@test.example"), /^250 /)
      assert.match(yield* send(port, "bob@example.net"), /^550 5\.1\.1 .*no mail leaves this container/)
      const mail = yield* poll(
        20_000,
        Effect.sync(() => {
          const text = Fs.existsSync(inbox) ? Fs.readFileSync(inbox, "latin1") : ""
          return text.match(/^From /gm)?.length === 2 ? text : undefined
        })
      )
      assert.match(mail ?? (yield* output), /^X-Original-To: bob@test\.example$/m)
      assert.strictEqual(mail?.match(/^X-Client: 127\.0\.0\.1$/gm)?.length, 2)
      // Without the filter the default action decides.
      yield* filter.signal("SIGTERM")
      assert.strictEqual(yield* realTime(filter.exit), 0)
      assert.match(yield* send(port), /^451 4\.7\.1 /)
      assert.notMatch(yield* output, /fatal|panic|warning: (?!connect to Milter)/)
    }))

  it.effect("takes what it is told from the environment, as often as it is started", () =>
    Effect.gen(function*() {
      const { env, etc } = yield* configuration
      const told = { ...env, MILTERS: "inet:one:1, unix:/two", MILTER_DEFAULT_ACTION: "accept", DOMAIN: "example.com" }
      const settings = Effect.map(run("postconf", ["-c", etc, "-n"]), ({ stdout }) => stdout.toString())
      const first = yield* enter(told, "echo", "and then")
      assert.deepStrictEqual(first, { status: 0, stdout: "and then\n", stderr: "" })
      const written = yield* settings
      for (
        const line of [
          "smtpd_milters = inet:one:1, unix:/two",
          "non_smtpd_milters = inet:one:1, unix:/two",
          "milter_default_action = accept",
          "myhostname = mx.example.com",
          "virtual_mailbox_domains = example.com"
        ]
      ) assert.include(written.split("\n"), line)
      const { stdout } = yield* run("postconf", ["-c", etc, "-F", "*/*/chroot"])
      assert.notMatch(stdout.toString(), /= y$/m)
      yield* enter(told, "true")
      assert.strictEqual(yield* settings, written)
    }))

  it.effect("says in one line that it does not know where the filter is", () =>
    Effect.gen(function*() {
      const { status, stderr, stdout } = yield* enter({ MAIL_CONFIG: "/does/not/exist" }, "true")
      assert.match(stderr, /^entrypoint\.sh: MILTERS is not set: [^\n]*\n$/)
      assert.deepStrictEqual([status, stdout], [1, ""])
    }))
})

// ---------------------------------------------------------------------------------------------------------------------

interface Instruction {
  readonly name: string
  readonly value: string
}

const readDockerfile = (directory: string): ReadonlyArray<Instruction> =>
  Fs.readFileSync(Path.join(container, directory, "Dockerfile"), "utf8")
    .replace(/^#.*\n/gm, "")
    .replace(/\\\n\s*/g, "")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [, name = "", value] = /^([A-Z]+) (.+)$/.exec(line) ?? []
      assert.isDefined(value, line)
      return { name, value }
    })

const values = (instructions: ReadonlyArray<Instruction>, name: string): ReadonlyArray<string> =>
  instructions.filter((instruction) => instruction.name === name).map(({ value }) => value)

/** Sources of COPY, from the build context. */
const copied = (instructions: ReadonlyArray<Instruction>): ReadonlyArray<string> =>
  values(instructions, "COPY").flatMap((value) => value.split(" ").slice(0, -1))

describe("container", () => {
  for (const [name, context] of [["postfix", Path.join(container, "postfix")], ["filter", root]] as const) {
    it(`has a Dockerfile of ${name} in order`, () => {
      const instructions = readDockerfile(name)
      assert.strictEqual(instructions[0]?.name, "FROM")
      for (const image of values(instructions, "FROM")) assert.match(image, /^[\w/.-]+:\d*[a-z.-]*\w+$/)
      assert.lengthOf(values(instructions, "ADD"), 0)
      const files = copied(instructions)
      assert.isNotEmpty(files)
      for (const file of files) assert.isTrue(Fs.existsSync(Path.join(context, file)), file)
      // As arrays, so that signals reach the program and no shell.
      for (const value of [...values(instructions, "ENTRYPOINT"), ...values(instructions, "CMD")]) {
        assert.isArray(JSON.parse(value))
      }
      assert.lengthOf(values(instructions, "ENTRYPOINT"), 1)
    })
  }

  it("runs the filter as a user without rights, with nothing more in its context than it needs", () => {
    const instructions = readDockerfile("filter")
    assert.deepStrictEqual(values(instructions, "USER"), ["node"])
    const [all, ...needed] = Fs.readFileSync(Path.join(container, "filter/Dockerfile.dockerignore"), "utf8").trim()
      .split("\n")
    assert.strictEqual(all, "*")
    assert.sameMembers(needed, copied(instructions).map((file) => `!${file}`))
  })

  it("has a script that can be run, without complaints", (context) => {
    assert.strictEqual(Fs.statSync(entrypoint).mode & 0o111, 0o111)
    const shellcheck = findProgram("shellcheck")
    if (shellcheck === undefined) return context.skip("shellcheck is not installed")
    const { status, stdout } = ChildProcess.spawnSync(shellcheck, [entrypoint], { encoding: "utf8" })
    assert.deepStrictEqual([status, stdout], [0, ""])
  })

  it("names files in its compose file that are there", () => {
    const compose = Fs.readFileSync(Path.join(container, "compose.yaml"), "utf8")
    assert.include(compose, "    build: postfix\n")
    const [, context, dockerfile] = /context: (\S+)\n +dockerfile: (\S+)\n/.exec(compose) ?? []
    assert.isTrue(Fs.existsSync(Path.join(container, context!, dockerfile!)))
    // The name of a service is its host's; the port is the one of the image.
    const [, service, port] = /MILTERS: inet:(\w+):(\d+)\n/.exec(compose) ?? []
    assert.match(compose, new RegExp(`^  ${service}:$`, "m"))
    assert.deepStrictEqual(values(readDockerfile("filter"), "EXPOSE"), [String(port)])
  })

  it.effect("has all in the filter's image that an example needs", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const instructions = readDockerfile("filter")
      for (const file of copied(instructions)) {
        Fs.cpSync(Path.join(root, file), Path.join(path, file), { recursive: true })
      }
      Fs.symlinkSync(Path.join(root, "node_modules"), Path.join(path, "node_modules"))
      const [, ...args] = ["ENTRYPOINT", "CMD"].flatMap((name) => values(instructions, name))
        .flatMap((value): ReadonlyArray<string> => JSON.parse(value))
      const [variable] = values(instructions, "ENV")
      assert.match(variable!, /^MILTER_LISTEN=inet:9000@0\.0\.0\.0$/)
      const child = yield* spawn("sh", [
        "-c",
        "cd \"$1\" && shift && exec \"$@\"",
        "sh",
        path,
        process.execPath,
        ...args
      ], {
        env: { MILTER_LISTEN: "inet:0@0.0.0.0" }
      })
      yield* realTime(child.shows(/append_header_ip listens on inet:\d+@0\.0\.0\.0/))
      yield* child.signal("SIGTERM")
      assert.strictEqual(yield* realTime(child.exit), 0)
    }))
})

// ---------------------------------------------------------------------------------------------------------------------

const works = (...args: ReadonlyArray<string>): boolean =>
  ChildProcess.spawnSync("docker", args, { stdio: "ignore", timeout: 20_000 }).status === 0

const noEngine = !works("info")
  ? "there is no container engine here"
  : works("compose", "version")
  ? undefined
  : "docker has no compose here"

// It does not fail in continuous integration either, other than suites whose prerequisites can be installed.
if (noEngine !== undefined) process.stderr.write(`not run: images built and run: ${noEngine}\n`)

describe.skipIf(noEngine !== undefined)(`container images${noEngine === undefined ? "" : ` (${noEngine})`}`, () => {
  it.effect("build, run, and filter a message", () =>
    Effect.gen(function*() {
      const port = yield* freePort(["127.0.0.1"])
      const project = [
        "compose",
        "--file",
        Path.join(container, "compose.yaml"),
        "--project-name",
        `milter-test-${port}`
      ]
      const compose = (...args: ReadonlyArray<string>) =>
        run("docker", [...project, ...args], { environment: { SMTP_PORT: String(port), FILTER: "append_header_ip" } })
      yield* Effect.acquireRelease(
        compose("up", "--build", "--detach"),
        () => Effect.ignore(compose("down", "--volumes", "--rmi", "local"))
      )
      const answer = yield* poll(
        60_000,
        Effect.map(Effect.orElseSucceed(send(port), () => ""), (text) => text.startsWith("250 ") ? text : undefined)
      )
      assert.isDefined(answer)
      const inbox = Effect.map(
        compose("exec", "-T", "postfix", "cat", "/srv/mail/inbox"),
        ({ stdout }) => stdout.toString()
      )
      const mail = yield* poll(
        20_000,
        Effect.map(Effect.orElseSucceed(inbox, () => ""), (text) => text.includes("Hello, Bob.") ? text : undefined)
      )
      assert.match(mail ?? "", /^X-MilterExample-Connect-IP: [\d.]+$/m)
    }), forLongTest)
})
