"""Training by gradient, shared by MVAE, LightGCN and NeuMF."""
