/** The files in deploy/ are what they say: each is given to the program that reads it. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import type * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { glob, read } from "../../scripts/repository.ts"
import { spawn } from "../../testbed/childProcess.ts"
import { describeWith } from "../../testbed/prerequisite.ts"
import { run } from "../support/commandLine.ts"
import * as Listeners from "../support/listeners.ts"
import picky from "../support/modules/filter.ts"

const deploy = (name: string): string => fileURLToPath(new URL(`../../deploy/${name}`, import.meta.url))

const exec = (command: string, ...args: ReadonlyArray<string>) =>
  ChildProcess.spawnSync(command, args, { encoding: "utf8" })

/** Why a program cannot be used. */
const missing = (command: string, ...args: ReadonlyArray<string>): string | undefined =>
  exec(command, ...args).error === undefined ? undefined : `${command} is not installed`

describeWith(missing("systemd-analyze", "--version"), "the systemd unit", () => {
  it("is rated below 3", () => {
    const { stderr, stdout } = exec(
      "systemd-analyze",
      "security",
      "--offline=true",
      deploy("systemd/effect-milter.service")
    )
    const exposure = Number(/Overall exposure level for \S+: (\d+\.\d)/.exec(stdout)?.[1])
    assert.isBelow(exposure, 3, stdout + stderr)
  })

  it("has no line that systemd does not know", () => {
    // The program need not be where the unit says.
    const unit = read("deploy/systemd/effect-milter.service").replace(/^ExecStart=\S+/m, "ExecStart=/bin/true")
    const directory = Fs.mkdtempSync(Path.join(Os.tmpdir(), "unit-"))
    try {
      const file = Path.join(directory, "effect-milter.service")
      Fs.writeFileSync(file, unit)
      const { status, stderr } = exec("systemd-analyze", "verify", file)
      assert.strictEqual(stderr.split("\n").filter((line) => line.includes("effect-milter.service")).join("\n"), "")
      assert.strictEqual(status, 0, stderr)
    } finally {
      Fs.rmSync(directory, { recursive: true })
    }
  })
})

describe("the OpenRC script", () => {
  it("is a shell script", () => {
    const { status, stderr } = exec("sh", "-n", deploy("openrc/effect-milter"))
    assert.strictEqual(status, 0, stderr)
    assert.isTrue((Fs.statSync(deploy("openrc/effect-milter")).mode & 0o111) !== 0)
  })
})

describe("the programs that are started", () => {
  it("are where the package has them", () => {
    const { bin } = JSON.parse(read("package.json")) as { readonly bin: { readonly [name: string]: string } }
    const program = `node_modules/effect-milter/${bin["effect-milter"]!.replace("./", "")}`
    for (const file of ["systemd/effect-milter.service", "openrc/effect-milter", "docker/Dockerfile"]) {
      assert.include(read(`deploy/${file}`), program, file)
    }
  })

  it("of the Dockerfile need nothing but the files of a project", () => {
    const lines = read("deploy/docker/Dockerfile").split("\n").filter((line) => /^[A-Z]/.test(line))
    for (const line of lines) {
      assert.match(line, /^(?:FROM|WORKDIR|COPY|RUN|ENV|USER|EXPOSE|ENTRYPOINT|CMD|STOPSIGNAL|HEALTHCHECK) \S/)
    }
    const copied = lines.flatMap((line) => /^COPY (?!--from)(.*) \S+$/.exec(line)?.[1]!.split(" ") ?? [])
    assert.deepStrictEqual([...new Set(copied)].toSorted(), ["filter.ts", "package-lock.json", "package.json"])
    // The arrays are JSON, or Docker takes them for a shell's line.
    for (const line of lines) {
      const array = /^(?:ENTRYPOINT|CMD|HEALTHCHECK .* CMD) (\[.*)$/.exec(line)?.[1]
      if (array !== undefined) assert.isArray(JSON.parse(array))
    }
  })
})

describe("dashboard and alerts", () => {
  // The page's own test holds these names equal to those of a server.
  const known = new Set(
    Array.from(read("docs/operate/observability.md").matchAll(/`(milter_[a-z_]+)`/g), ([, name]) => name!)
  )
  const namesIn = (text: string): ReadonlySet<string> =>
    new Set(
      Array.from(text.matchAll(/\bmilter_[a-z_]+/g), ([name]) => name).filter((name) =>
        !name.startsWith("milter_default_")
      )
    )

  it("name metrics that there are", () => {
    for (const file of ["grafana/effect-milter.json", "prometheus/effect-milter.rules.yml"]) {
      const names = namesIn(read(`deploy/${file}`))
      assert.isAbove(names.size, 3)
      for (const name of names) assert.isTrue(known.has(name.replace(/_(?:bucket|sum|count)$/, "")), `${file}: ${name}`)
    }
  })

  it("have panels beside each other, with their own numbers", () => {
    const { panels } = JSON.parse(read("deploy/grafana/effect-milter.json")) as {
      readonly panels: ReadonlyArray<{
        readonly id: number
        readonly gridPos: { readonly x: number; readonly y: number; readonly w: number }
        readonly targets: ReadonlyArray<{ readonly expr: string }>
      }>
    }
    assert.strictEqual(new Set(panels.map(({ id }) => id)).size, panels.length)
    assert.strictEqual(new Set(panels.map(({ gridPos: { x, y } }) => `${x} ${y}`)).size, panels.length)
    for (const { gridPos: { w, x } } of panels) assert.isAtMost(x + w, 24)
    // All that a server counts is shown.
    const shown = new Set(
      Array.from(namesIn(JSON.stringify(panels)), (name) => name.replace(/_(?:bucket|sum|count)$/, ""))
    )
    assert.deepStrictEqual(
      [...shown].toSorted(),
      [...known].filter((name) => /_(?:total|open|seconds)$/.test(name)).toSorted()
    )
  })

  describeWith(missing("promtool", "--version"), "for Prometheus", () => {
    it("are rules, which fire when they should", () => {
      const check = exec("promtool", "check", "rules", deploy("prometheus/effect-milter.rules.yml"))
      assert.strictEqual(check.status, 0, check.stdout + check.stderr)
      const test = exec("promtool", "test", "rules", deploy("prometheus/effect-milter.rules.test.yml"))
      assert.strictEqual(test.status, 0, test.stdout + test.stderr)
    })

    it("have expressions that Prometheus reads", () => {
      const { panels } = JSON.parse(read("deploy/grafana/effect-milter.json"))
      const expressions: ReadonlyArray<string> = panels.flatMap(
        ({ targets }: { readonly targets: ReadonlyArray<{ readonly expr: string }> }) => targets.map(({ expr }) => expr)
      )
      const directory = Fs.mkdtempSync(Path.join(Os.tmpdir(), "rules-"))
      try {
        const rules = expressions.map((expr, index) => ({
          record: `panel:${index}`,
          expr: expr.replaceAll("$__rate_interval", "5m")
        }))
        const file = Path.join(directory, "panels.yml")
        Fs.writeFileSync(file, JSON.stringify({ groups: [{ name: "panels", rules }] }))
        const { status, stderr, stdout } = exec("promtool", "check", "rules", file)
        assert.strictEqual(status, 0, stdout + stderr)
      } finally {
        Fs.rmSync(directory, { recursive: true })
      }
    })
  })
})

describeWith(missing("stunnel4", "-version"), "stunnel between MTA and filter", () => {
  /** A port that was free a moment ago: stunnel does not say which one it takes for port 0. */
  const freePort = Effect.scoped(
    Effect.map(
      Listeners.bare({ host: "127.0.0.1", port: 0 }, () => {}),
      (server) => (server.address() as Net.AddressInfo).port // it listens on TCP
    )
  )

  /** The file of the repository, for this test's ports and key, and without a user of its own. */
  const settings = (name: string, key: string, replaced: { readonly [setting: string]: string }): string =>
    Object.entries({ ...replaced, PSKsecrets: key, foreground: "yes" }).reduce(
      (text, [setting, value]) => text.replace(new RegExp(`^${setting} = .*$`, "m"), `${setting} = ${value}`),
      read(`deploy/stunnel/${name}.conf`).replace(/^(?:setuid|setgid|pid) = .*$/gm, "").replace(
        /^foreground/m,
        "pid =\nforeground"
      )
    )

  it.live("carries a conversation, and only for who has the key", () =>
    Effect.gen(function*() {
      const context = yield* Layer.build(
        MilterServer.layer(picky).pipe(
          Layer.provideMerge(NodeMilterServer.layer({ listen: "inet:0" })),
          Layer.provide(Listeners.quiet)
        )
      )
      const port = /^inet:(\d+)/.exec(Context.get(context, MilterServer.Listener).addresses[0]!)![1]!
      const directory = yield* Listeners.directory
      const write = (name: string, text: string): string => {
        Fs.writeFileSync(Path.join(directory, name), text, { mode: 0o600 })
        return Path.join(directory, name)
      }
      const key = write("milter.psk", `mx:${"0123456789abcdef".repeat(4)}\n`)
      const otherKey = write("other.psk", `mx:${"fedcba9876543210".repeat(4)}\n`)
      const [outside, inside, stranger] = [yield* freePort, yield* freePort, yield* freePort]
      const start = (name: string, text: string) =>
        Effect.flatMap(spawn("stunnel4", [write(name, text)]), (child) =>
          Effect.as(child.shows(/Configuration successful/), child))
      yield* start(
        "filter.conf",
        settings("filter", key, { accept: `127.0.0.1:${outside}`, connect: `127.0.0.1:${port}` })
      )
      yield* start("mta.conf", settings("mta", key, { accept: `127.0.0.1:${inside}`, connect: `127.0.0.1:${outside}` }))
      yield* start(
        "stranger.conf",
        settings("mta", otherKey, { accept: `127.0.0.1:${stranger}`, connect: `127.0.0.1:${outside}` })
      )
      const message = write("m.eml", "From: a@example.org\nTo: b@example.net\nSubject: hi\n\nHello\n")
      const sent = yield* run("send", message, "--to", `inet:${inside}`)
      assert.strictEqual(sent.code, 0, sent.stderr)
      assert.include(sent.stdout, "+X-Picky: yes")
      const refused = yield* run("send", message, "--to", `inet:${stranger}`)
      assert.strictEqual(refused.code, 1)
      assert.match(refused.stderr, /closed the connection at once/)
    }))
})

describe("the folder", () => {
  it("is described on the page", () => {
    const page = read("docs/operate/deploy.md")
    for (const file of glob("deploy/**/*.*")) {
      const folder = file.split("/").slice(0, 2).join("/")
      assert.isTrue(
        page.includes(`../../${folder}`) || read("docs/operate/observability.md").includes(`../../${folder}`),
        folder
      )
    }
  })
})
