/**
 * Keeps package.json and the sources together: one entry for each public module (`src/*.ts`) and for each public
 * folder (`src/<folder>/index.ts`), nothing else; and a barrel, src/index.ts, that re-exports each module.
 */
import { entries, glob, manifest, type Problem, publicSources, read, report } from "./repository.ts"

const modules = publicSources().filter((file) => /^src\/\w+\.ts$/.test(file) && file !== "src/index.ts")
/** They need what whoever imports the barrel may not have or want: optional peers, unstable modules of Effect. */
const outsideBarrel = new Set(["src/EffectSocket.ts", "src/Message.ts"])
const folders = publicSources().filter((file) => /^src\/\w+\/index\.ts$/.test(file))

const entryOf = (source: string): string =>
  source === "src/index.ts" ? "." : `.${source.slice("src".length).replace(/(\/index)?\.ts$/, "")}`

const targetsOf = (source: string): Readonly<Record<string, string>> => {
  const built = source.replace(/^src/, "./dist").replace(/\.ts$/, "")
  return { "effect-milter-source": `./${source}`, types: `${built}.d.ts`, default: `${built}.js` }
}

const problemIn = (file: string) => (message: string): Problem => ({ file, line: 1, message })

const checkEntries = (): ReadonlyArray<Problem> => {
  const problem = problemIn("package.json")
  const expected = new Map(["src/index.ts", ...modules, ...folders].map((source) => [entryOf(source), source]))
  const unknown = entries.filter((entry) => !expected.has(entry))
    .map((entry) => problem(`exports has ${entry}, which is no public module of src`))
  const wrong = [...expected].flatMap(([entry, source]) => {
    // As text, since the order of conditions matters to those who resolve them.
    const targets = JSON.stringify(targetsOf(source))
    return JSON.stringify(manifest.exports[entry]) === targets
      ? []
      : [problem(`exports["${entry}"] should be ${targets}`)]
  })
  return [...unknown, ...wrong]
}

const checkBarrel = (): ReadonlyArray<Problem> => {
  const barrel = "src/index.ts"
  const problem = problemIn(barrel)
  if (!glob(barrel).includes(barrel)) return [problem("is missing")]
  const found = new Set(read(barrel).split("\n").filter((line) => line.startsWith("export ")))
  const wanted = modules.filter((file) => !outsideBarrel.has(file)).map((file) =>
    file.slice("src/".length, -".ts".length)
  )
    .map((name) => `export * as ${name} from "./${name}.ts"`)
  return [
    ...wanted.filter((line) => !found.delete(line)).map((line) => problem(`lacks ${line}`)),
    ...Array.from(found, (line) => problem(`should not have ${line}`))
  ]
}

report([...checkEntries(), ...checkBarrel()], `exports and barrel: ${entries.length} entries in order`)
