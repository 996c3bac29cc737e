# Degrees of freedom of lmerTest for the models of data/gaussian_cases.json; writes
# data/satterthwaite.json. Run in tests/reference as `Rscript make_satterthwaite.R`.
library(lmerTest)
library(jsonlite)

control <- lmerControl(
  optimizer = "nloptwrap", calc.derivs = FALSE,
  optCtrl = list(xtol_abs = 1e-12, ftol_abs = 1e-12, xtol_rel = 0, ftol_rel = 0, maxeval = 1e5),
  check.conv.singular = "ignore", check.rankX = "silent.drop.cols",
  check.nobs.vs.nlev = "ignore", check.nobs.vs.nRE = "ignore", check.nlev.gtr.1 = "ignore",
  check.scaleX = "ignore"
)
cases <- fromJSON("data/gaussian_cases.json", simplifyVector = FALSE)
out <- list()
for (case in cases) {
  if (case$dataset == "insteval") next
  data <- read.csv(gzfile(file.path("data", case$dataset)))
  for (name in names(case$factor_levels)) {
    data[[name]] <- factor(as.character(data[[name]]), unlist(case$factor_levels[[name]]))
  }
  if (startsWith(case$id, "lagoon_confounded")) data$habitat <- factor(data$habitat)
  arguments <- list(as.formula(case$formula_lme4), data, REML = case$method == "REML",
                    control = control)
  if (!is.null(case$weights)) arguments$weights <- data[[case$weights]]
  if (!is.null(case$offset)) arguments$offset <- data[[case$offset]]
  table <- tryCatch(
    suppressMessages(suppressWarnings(coef(summary(do.call(lmerTest::lmer, arguments))))),
    error = function(problem) NULL
  )
  if (is.null(table) || !("df" %in% colnames(table))) next
  out[[case$id]] <- list(df = as.list(table[, "df"]), t = as.list(table[, "t value"]))
  if (nrow(table) == 1) for (key in c("df", "t")) names(out[[case$id]][[key]]) <- rownames(table)
}
# InstEval, with lmerTest's own settings
insteval <- coef(summary(lmerTest::lmer(
  y ~ 1 + as.numeric(as.character(service)) + (1 | s) + (1 | d) + (1 | dept),
  transform(lme4::InstEval), control = lmerControl(calc.derivs = FALSE)
)))
rownames(insteval)[2] <- "service"
out$insteval_REML <- list(df = as.list(insteval[, "df"]), t = as.list(insteval[, "t value"]))
writeLines(toJSON(out, auto_unbox = TRUE, digits = 12, pretty = 1), "data/satterthwaite.json")
