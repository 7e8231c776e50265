/** Preloaded: imports packages, this one as well, from the checkout that the variable names, whatever the importing file. */
import { registerHooks } from "node:module"
import { pathToFileURL } from "node:url"

const checkout = pathToFileURL(`${process.env["BENCHMARK_CHECKOUT"]}/package.json`).href

registerHooks({
  resolve: (specifier, context, next) =>
    /^(effect|effect-milter|@effect\/[^/]+)(\/|$)/.test(specifier) &&
      context.parentURL?.includes("/benchmark/") === true
      ? next(specifier, { ...context, parentURL: checkout })
      : next(specifier, context)
})
