"""The karyotype cascade: a metaphase image becomes outlined, classified, upright and paired chromosomes."""
