/**
 * `effect-milter serve`: serves the filters of modules in worker processes, and prints the lines for the MTA's configuration.
 * The process that was started is their supervisor; it loads no module.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Path from "node:path"
import * as MilterServer from "../../MilterServer.ts"
import * as MilterTest from "../../MilterTest.ts"
import { WorkerError } from "../../node/internal/supervisor.ts"
import { send } from "../../node/internal/worker.ts"
import { type Assignment, assignment as assignmentOf } from "../../node/internal/workerMessages.ts"
import { started, work } from "../../node/internal/workers.ts"
import * as endless from "../endless.ts"
import { withLevel } from "../flags/logLevel.ts"
import * as specs from "../flags/specs.ts"
import { loadFilters } from "../loadFilter.ts"
import { run } from "../messages/converse.ts"
import { mtas } from "../messages/messageFlags.ts"
import * as postconf from "../postfix/postconf.ts"
import * as clientTrouble from "../trouble/clientTrouble.ts"
import * as exit from "../trouble/exit.ts"
import { listenTrouble } from "../trouble/listenTrouble.ts"
import { version } from "../version.ts"
import { check } from "./checkFilter.ts"
import * as logFormat from "./logFormat.ts"
import { mtaLines } from "./mtaLines.ts"
import * as processUser from "./processUser.ts"
import { flags, type GivenFlags } from "./serveOptions.ts"
import { resolve, type Settings } from "./serveSettings.ts"
import { applied } from "./trial.ts"
import * as watch from "./watch.ts"

const files = specs.pathArgument("FILE").pipe(
  Argument.withDescription(
    "A module (.ts or .js) that exports by default a filter, an array of filters, or MilterServer.layer of one. The " +
      "filters of several modules are asked in this order"
  ),
  Argument.variadic({ min: 1 })
)

const complain = (text: string): void => void process.stderr.write(`effect-milter: ${text}\n`)

/** The server that the modules and the settings make. */
const serverOf = Effect.fnUntraced(function*(files: ReadonlyArray<string>, settings: Settings) {
  const served = yield* loadFilters(files)
  if (served._tag === "Filter") {
    return { options: settings.server, layer: MilterServer.layer(applied(served.filter, settings), settings.server) }
  }
  const { ignoredByLayers: [ignored] } = settings
  if (ignored !== undefined) {
    return yield* exit.trouble(
      `${
        files[0]
      } exports a layer, which has options of its own: ${ignored} would be ignored; leave it out, or export the filter`
    )
  }
  return { options: {}, layer: served.layer }
})

const cannotServe = (files: ReadonlyArray<string>, http?: string) => (error: unknown): exit.Trouble =>
  error instanceof exit.Trouble
    ? error
    : error instanceof MilterServer.ListenError
    ? listenTrouble(error, error.address === http ? "--http" : "--listen")
    : exit.trouble(`${files.join(", ")} cannot be served: ${exit.lineOf(error)}`)

/** What a worker does. */
const serveAsWorker = Effect.fnUntraced(function*(
  assignment: Assignment,
  files: ReadonlyArray<string>,
  settings: Settings
) {
  // Before the first line of a module runs. A later worker has the user from its supervisor.
  if (settings.user !== undefined && process.geteuid?.() === 0) {
    yield* processUser.become(yield* processUser.find(settings.user))
  }
  if (settings.watch) yield* watch.collect
  // Without its configuration postconf takes a second, in which the modules load. The supervisor prints what the first worker says.
  const queueDirectory = yield* Effect.forkChild(
    assignment.index === 0 ? postconf.queueDirectory : Effect.succeed(postconf.defaultQueueDirectory)
  )
  const { layer, options } = yield* Effect.ensuring(
    serverOf(files, settings),
    Effect.suspend(() => settings.watch ? send({ _tag: "Loaded", files: watch.collected() }) : Effect.void)
  )
  const text = Effect.gen(function*() {
    const servers = yield* MilterServer.status
    // For TCP nobody has to wait for it.
    const hasSocket = servers.some(({ addresses }) => addresses.some((address) => address.startsWith("unix:")))
    const queue = hasSocket ? yield* Fiber.join(queueDirectory) : postconf.defaultQueueDirectory
    return servers.map(({ addresses, filter }) => mtaLines(filter, addresses, options, queue)).join("")
  })
  return yield* work(assignment, layer, { text, version }).pipe(
    Effect.mapError(cannotServe(files)),
    Effect.catchDefect((defect) => cannotServe(files)(defect))
  )
})

/** What the supervisor does. */
const serveAsSupervisor = Effect.fnUntraced(function*(files: ReadonlyArray<string>, settings: Settings) {
  const { config, group, http, listen, mode, owner, workers } = settings
  if (listen.length === 0) {
    return yield* exit.trouble(
      "where should the filter listen? Give --listen SPEC, such as unix:/run/filter/filter.sock, or set MILTER_LISTEN"
    )
  }
  const user = settings.user === undefined ? undefined : yield* processUser.find(settings.user)
  let lines = ""
  const supervisor = yield* started({
    listen,
    mode,
    ...(owner === undefined && user === undefined ? {} : { owner: owner ?? user!.uid }),
    ...(group === undefined && user === undefined ? {} : { group: group ?? user!.gid }),
    workers,
    http,
    version,
    // The file is in its place, and the workers have become the user themselves.
    onReady: (ready) =>
      Effect.andThen(
        user === undefined ? Effect.void : processUser.become(user),
        Effect.sync(() => {
          lines = ready.text
        })
      )
  }).pipe(
    // The worker has said why, in its line.
    Effect.mapError((error) =>
      error instanceof WorkerError ? new exit.Result({ code: 1 }) : cannotServe(files, http)(error)
    )
  )
  if (settings.watch) {
    const add = yield* watch.watcher((file) => supervisor.askReload(`${Path.relative("", file)} has changed`))
    add(config === undefined ? [] : [Path.resolve(config)])
    supervisor.onLoaded = add
    add([...supervisor.loaded])
  }
  process.stdout.write(lines)
  if (process.geteuid?.() === 0) {
    complain("this filter runs as root, which no milter needs: start it as a user of its own, or give --user")
  }
  return yield* Effect.never
})

const checked = (files: ReadonlyArray<string>, settings: Settings) =>
  Effect.gen(function*() {
    const { layer } = yield* serverOf(files, settings)
    const message = settings.checkMessage === undefined ? Effect.void : run(
      {
        address: MilterTest.address,
        options: { as: mtas.postfix },
        explain: (error) => clientTrouble.explainOwn(files.join(", "), error)
      },
      {
        messages: [settings.checkMessage],
        as: "postfix",
        from: Option.none(),
        rcpt: [],
        client: Option.none(),
        helo: Option.none(),
        macro: [],
        output: Option.none(),
        expect: Option.none(),
        json: false,
        verbose: false
      }
    )
    yield* check(files.join(", "), layer, message)
  }).pipe(
    Effect.mapError((error) => error instanceof exit.Result ? error : cannotServe(files)(error)),
    Effect.catchDefect((defect) => cannotServe(files)(defect))
  )

const serve_ = Effect.fnUntraced(
  function*({ files, ...given }: GivenFlags & { readonly files: ReadonlyArray<string> }) {
    const settings = yield* resolve(given, process.env)
    const assignment = assignmentOf()
    if (assignment === undefined) { for (const warning of settings.warnings) complain(warning) }
    const level = Option.fromUndefinedOr(settings.logLevel)
    if (settings.check || settings.checkMessage !== undefined) {
      return yield* checked(files, settings).pipe(
        withLevel(level, "warn"),
        Effect.provide(logFormat.layer(settings.logFormat))
      )
    }
    yield* endless.markEndless
    return yield* (assignment === undefined
      ? serveAsSupervisor(files, settings)
      : serveAsWorker(assignment, files, settings))
      .pipe(withLevel(level, "info"), Effect.provide(logFormat.layer(settings.logFormat)))
  }
)

export const serve = Command.make("serve", { files, ...flags }, (given) => Effect.scoped(serve_(given))).pipe(
  Command.withDescription(
    "Serves the filters that modules export, and prints the lines for Postfix and Sendmail. A flag goes before its variable, " +
      "in brackets, and that before the file of --config. Times are seconds, or written as 500ms, 8s, 5m, 2h. SIGHUP loads " +
      "the modules anew without dropping a session. Ends at SIGTERM or Ctrl-C, with exit code 0"
  ),
  Command.withShortDescription("Serves the filters that modules export"),
  Command.withExamples([
    { command: "effect-milter serve filter.ts --listen inet:9000@127.0.0.1" },
    {
      command:
        "effect-milter serve filter.ts --listen unix:/run/filter/filter.sock --socket-group postfix --workers auto"
    },
    { command: "effect-milter serve filter.ts --check" }
  ])
)
