# Runs the R call of every line of lines.json and writes its numbers to numbers.json:
#   Rscript numbers.R
# with the packages that are loaded below, and MASS and nlme for data.
suppressPackageStartupMessages({
  library(jsonlite); library(lme4); library(lmerTest); library(nlme); library(emmeans)
  library(pbkrtest); library(car); library(clubSandwich); library(performance)
  library(sjPlot); library(glmmTMB)
})
# nlme has functions of these names too
fixef <- function(x) if (inherits(x, "glmmTMB")) glmmTMB::fixef(x) else if (inherits(x, "lme")) nlme::fixef(x) else lme4::fixef(x)
ranef <- lme4::ranef
VarCorr <- function(x) if (inherits(x, "lme")) nlme::VarCorr(x) else lme4::VarCorr(x)
lmer <- lmerTest::lmer

# DHARMa is not called: its residuals with many draws are the limit that base R computes
simulateResiduals <- function(m, n) {
  V <- as.matrix(getME(m, "Z") %*% tcrossprod(getME(m, "Lambda")) %*% t(getME(m, "Z"))) * sigma(m)^2
  V <- V + diag(sigma(m)^2, nrow(V))
  list(scaledResiduals = pnorm((getME(m, "y") - getME(m, "X") %*% fixef(m)) / sqrt(diag(V))))
}

tight <- lmerControl(optCtrl = list(xtol_abs = 1e-12, ftol_abs = 1e-12))
# the default optimiser stops at some five digits
polish <- function(m) update(m, start = getME(m, "theta"), control = lmerControl(
  optimizer = "bobyqa", optCtrl = list(rhobeg = 1e-3, rhoend = 1e-11)))
m <- lmer(Reaction ~ Days + (Days | Subject), sleepstudy, control = tight)
m_ml <- lme4::lmer(Reaction ~ Days + (Days | Subject), sleepstudy, REML = FALSE, control = tight)
m0 <- lme4::lmer(Reaction ~ Days + (1 | Subject), sleepstudy, REML = FALSE, control = tight)
s <- lmer(Reaction ~ Days + (1 | Subject), sleepstudy, control = tight)
new <- data.frame(Days = c(0, 10), Subject = factor(c("308", "335"), levels(sleepstudy$Subject)))
oats <- as.data.frame(Oats)
oats$nitro <- factor(oats$nitro)
oats$Block <- factor(as.character(oats$Block))
o <- lmer(yield ~ Variety * nitro + (1 | Block) + (1 | Block:Variety), oats, control = tight)
o_main <- lmer(yield ~ Variety + nitro + (1 | Block) + (1 | Block:Variety), oats, control = tight)
fewer <- oats[-c(1, 2, 3, 5, 8, 13, 21, 34, 55), ]
u <- lmer(yield ~ Variety + nitro + (1 | Block) + (1 | Block:Variety), fewer, control = tight)
Orthodont <- as.data.frame(Orthodont)
Orthodont$Subject <- factor(as.character(Orthodont$Subject))
a <- lmer(distance ~ age * Sex + (age | Subject), Orthodont, control = tight)
epil <- MASS::epil
g <- glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, binomial, nAGQ = 25)

m <- polish(m); m_ml <- polish(m_ml); s <- polish(s); o <- polish(o); o_main <- polish(o_main)
u <- polish(u); a <- polish(a)

emm_options(lmerTest.limit = 1e4, pbkrtest.limit = 1e4)
set.seed(1)
lines <- fromJSON("lines.json", simplifyVector = FALSE)
numbers <- lapply(lines, function(line) {
  x <- if (grepl("...", line$r, fixed = TRUE)) NULL else
    tryCatch(suppressMessages(eval(parse(text = line$r))), error = function(e) {
      cat("FAILED", line$r, conditionMessage(e), "\n"); NULL })
  value <- tryCatch(eval(parse(text = line$r_take)), error = function(e) {
    cat("FAILED take", line$r, conditionMessage(e), "\n"); NULL })
  # rows first, as NumPy flattens
  value <- unname(if (is.matrix(value)) as.vector(t(value)) else as.vector(unlist(value)))
  as.numeric(value)
})
names(numbers) <- vapply(lines, function(line) line$r, "")
packages <- c("lme4", "lmerTest", "pbkrtest", "emmeans", "car", "clubSandwich", "performance",
              "sjPlot", "nlme", "glmmTMB")
versions <- c(list(R = paste(R.version$major, R.version$minor, sep = ".")),
              sapply(packages, function(p) as.character(packageVersion(p)), simplify = FALSE))
write_json(list(versions = versions, numbers = numbers), "numbers.json", digits = 12,
           auto_unbox = TRUE, pretty = TRUE)
