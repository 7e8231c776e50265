/** The servers of the comparison: how each is built and started. All do the same work, see benchmark/README.md. */
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"

/** How a server is started; the address goes after the arguments. */
export interface Command {
  readonly program: string
  readonly arguments: ReadonlyArray<string>
  readonly environment?: Readonly<Record<string, string>>
  /** The file that takes what it logs; without one its output goes nowhere. */
  readonly log?: string
  /** What was measured, with its version. */
  readonly version: string
}

/** One of the servers. */
export interface Server {
  readonly name: string
  readonly title: string
  /** A variant of ours; runs in base cells only. */
  readonly variant?: true
  /** Left out of cells with more connections, which would take the whole time of a run. */
  readonly maxConnections?: number
  /** Forks a process for each connection: its memory cannot be told by adding up. */
  readonly forks?: true
  /** Messages a round at most; what takes milliseconds a message would take the whole time of a run. */
  readonly maxMessages?: number
  /** Builds it in the folder; throws if something is missing on this machine. */
  readonly prepare: (folder: string) => Command
}

const source = (name: string): string => Path.join(import.meta.dirname, "../servers", name)

const run = (program: string, ...parameters: ReadonlyArray<string>): string =>
  execFileSync(program, parameters, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim()

/** The version of the Debian package that owns the files, if dpkg knows one. */
const packageVersion = (name: string): string => {
  try {
    return run("dpkg-query", "-W", "-f=${Version}", name)
  } catch {
    return "unknown version"
  }
}

const effectVersion = (): string =>
  (JSON.parse(Fs.readFileSync(source("../../node_modules/effect/package.json"), "utf8")) as { version: string }).version

const node = (version: string, file: string, ...options: ReadonlyArray<string>) => (): Command => ({
  program: process.execPath,
  arguments: [...process.execArgv, "--expose-gc", source(file), ...options],
  version
})

/** The first Python that has the module; a Python of its own comes before the one of the system in many a PATH. */
const python = (): string => {
  const found = ["python3", "/usr/bin/python3"].find((program) => {
    try {
      run(program, "-c", "import Milter")
      return true
    } catch {
      return false
    }
  })
  if (found === undefined) throw new Error("no python3 that has the module Milter (Debian: python3-milter)")
  return found
}

const named = (what: string, build: () => void): void => {
  try {
    build()
  } catch (error) {
    const output = (error as { stderr?: string }).stderr?.trim().split("\n")[0]
    throw new Error(`${what}: ${output ?? (error as Error).message}`, { cause: error })
  }
}

const ours = `effect ${effectVersion()}, Node ${process.version}`

/** Lines go to a file, since a write to the null device costs next to nothing. */
const logging = (file: string) => (folder: string): Command => ({
  ...node(ours, file)(),
  log: Path.join(folder, "log")
})

/** effect-milter from the sources of another checkout, for before and after. */
export const against = (checkout: string): Server => ({
  name: "against",
  title: `effect-milter in ${checkout}`,
  variant: true,
  prepare: () => ({
    program: process.execPath,
    arguments: [
      ...process.execArgv,
      "--expose-gc",
      "--import",
      source("checkout.ts"),
      source("effectMilter.ts"),
      "quiet"
    ],
    version: `the sources of ${checkout}`,
    environment: { BENCHMARK_CHECKOUT: Path.resolve(checkout) }
  })
})

/** In the order of the tables. */
export const servers: ReadonlyArray<Server> = [
  { name: "floor", title: "bare node:net", prepare: node(`Node ${process.version}`, "floor.ts") },
  { name: "effect-milter", title: "effect-milter", prepare: node(ours, "effectMilter.ts", "quiet") },
  {
    name: "effect-milter-log",
    title: "effect-milter, with its log line",
    variant: true,
    prepare: logging("logged.ts")
  },
  {
    name: "effect-milter-default-log",
    title: "effect-milter, with Effect's logger",
    variant: true,
    prepare: logging("effectMilter.ts")
  },
  {
    name: "effect-milter-five",
    title: "effect-milter, five filters",
    variant: true,
    prepare: node(ours, "effectMilter.ts", "quiet", "five")
  },
  {
    name: "effect-milter-unmetered",
    title: "effect-milter, without metrics",
    variant: true,
    prepare: node(ours, "effectMilter.ts", "quiet", "unmetered")
  },
  {
    name: "libmilter",
    title: "libmilter (C)",
    prepare: (folder) => {
      const program = Path.join(folder, "libmilter")
      named("needs a C compiler and libmilter (Debian: gcc libmilter-dev)", () => {
        run("cc", "-O2", "-o", program, source("libmilter.c"), "-lmilter", "-lpthread")
      })
      return { program, arguments: [], version: `libmilter ${packageVersion("libmilter-dev")}` }
    }
  },
  {
    name: "go-milter",
    title: "go-milter (Go)",
    prepare: (folder) => {
      const program = Path.join(folder, "gomilter")
      named("needs Go and go-milter (Debian: golang-go golang-github-emersion-go-milter-dev)", () => {
        execFileSync("go", ["build", "-o", program, source("gomilter.go")], {
          encoding: "utf8",
          stdio: ["ignore", "pipe", "pipe"],
          env: {
            ...process.env,
            GO111MODULE: "off",
            GOPATH: "/usr/share/gocode",
            GOCACHE: Path.join(folder, "go-cache"),
            GOFLAGS: ""
          }
        })
      })
      const version = `go-milter ${packageVersion("golang-github-emersion-go-milter-dev")}`
      return { program, arguments: [], version: `${version}, ${run("go", "env", "GOVERSION")}` }
    }
  },
  {
    name: "pymilter",
    title: "pymilter (Python)",
    maxConnections: 1_000,
    prepare: () => {
      const program = python()
      const version = `pymilter ${packageVersion("python3-milter")}, ${run(program, "--version")}`
      return { program, arguments: [source("pymilter.py")], version }
    }
  },
  {
    name: "pmilter",
    title: "Sendmail::PMilter (Perl)",
    forks: true,
    maxConnections: 100,
    maxMessages: 2_000,
    prepare: () => {
      named("needs Sendmail::PMilter (Debian: libsendmail-pmilter-perl)", () => {
        run("perl", "-MSendmail::PMilter", "-e", "1")
      })
      const version = run(
        "perl",
        "-MSendmail::PMilter",
        "-e",
        "printf '%s, Perl %vd', $Sendmail::PMilter::VERSION, $^V"
      )
      return { program: "perl", arguments: [source("pmilter.pl")], version: `Sendmail::PMilter ${version}` }
    }
  }
]
