"""Pictures that explain the method and show what the tasks give, each made from what it measures."""
