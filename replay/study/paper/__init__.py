"""The paper's studies on its random splits: tables of cells, each a model fitted on some rows."""
