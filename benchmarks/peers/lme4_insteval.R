# Fits InstEval with lme4 whenever a line "fit" arrives on standard input, and answers
# with one line of "name=value" pairs. The data are read and turned into factors once,
# before any timing. Arguments: the CSV file, and TRUE or FALSE for calc.derivs.

arguments <- commandArgs(trailingOnly = TRUE)
suppressPackageStartupMessages(library(lme4))

ratings <- read.csv(arguments[1])
for (group in c("s", "d", "dept")) ratings[[group]] <- factor(ratings[[group]])
control <- lmerControl(calc.derivs = as.logical(arguments[2]))

cat(sprintf("ready lme4 %s, R %s, BLAS %s\n", packageVersion("lme4"), getRversion(),
            basename(La_library())))
flush(stdout())

requests <- file("stdin", open = "r")
while (length(request <- readLines(requests, n = 1)) > 0 && request == "fit") {
  gc(verbose = FALSE)
  seconds <- system.time(
    model <- lmer(y ~ 1 + service + (1 | s) + (1 | d) + (1 | dept), data = ratings,
                  REML = TRUE, control = control)
  )[["elapsed"]]
  variances <- as.data.frame(VarCorr(model))
  departments <- ranef(model, condVar = FALSE)[["dept"]]
  answer <- c(
    seconds = seconds,
    log_likelihood = as.numeric(logLik(model)),
    intercept = fixef(model)[["(Intercept)"]],
    service = fixef(model)[["service"]],
    setNames(variances$vcov, paste0("variance.", variances$grp)),
    setNames(departments[[1]], paste0("dept.", rownames(departments)))
  )
  cat(paste0(names(answer), "=", sprintf("%.17g", answer), collapse = " "), "\n", sep = "")
  flush(stdout())
}
